"""What to do next about a fault, in words for the person who reads it."""

from __future__ import annotations

from dataclasses import replace

from app.domain.message import Fault

ADVICE = {
    "address_in_use": "choose another address",
    "bad_address": "choose an address of the subnet",
    "bad_user_data": "send user_data as base64",
    "cancelled": "ask again when it is wanted",
    "deadline": "ask again; if it recurs, an operator should look at the host's log",
    "disk_full": "an operator should free disk on the host, or add hosts; then create it again",
    "empty_image": "upload the image again",
    "format_mismatch": "upload the image again with its true disk_format",
    "guest_lost": "rebuild the server from an image, or delete it and create it again",
    "half_done": "reboot the server hard, or rebuild the server from an image that boots",
    "host_lost": "delete the server, or wait until an operator brings its host back",
    "hypervisor_away": "an operator should look at libvirtd on the host; then ask again",
    "image_corrupt": "upload the image again",
    "image_format": "upload the image as qcow2 or raw",
    "image_gone": "ask for another image, if it is still wanted",
    "image_missing": "choose an image that exists",
    "image_too_big": "choose a flavor with a larger disk",
    "no_address": "choose another network, or delete servers that hold addresses",
    "no_agent": "install and start qemu-guest-agent in the server, or change it from within",
    "no_disk": "choose an image and a flavor with a disk; a server that lost its disk can only be "
    "deleted",
    "no_guest": "delete the server and create it again",
    "no_subnet": "choose a network that has a subnet",
    "not_let_go": "wait until the server has booted, or stop it first; then ask again",
    "not_running": "start the server first",
    "no_valid_host": "choose a smaller flavor or another zone, or ask an operator for room or for "
    "hosts to be brought back",
    "stale": "an operator should run `novella doctor --fix`",
    "subnet_in_use": "an operator should free the subnet on the host, or give the network another",
    "unsafe_image": "upload an image without backing or data files",
    "unsupported_format": "upload the image as qcow2 or raw",
    "worker_died": "an operator should look at the host worker's log; then ask again",
}
OTHERWISE = (
    "ask again; if it recurs, an operator should look at the log of the host and stage named"
)


def advised(fault: Fault, stage: str, host: str | None) -> Fault:
    """The fault with where it happened, and with what to do next."""
    todo = ADVICE.get(fault.code, OTHERWISE)
    return replace(fault, stage=fault.stage or stage, host=fault.host or host, todo=todo)


def sentence(fault: Fault) -> str:
    """The fault as a server's owner reads it: stage, reason and advice; hosts stay unnamed."""
    where = f"{fault.stage}: " if fault.stage else ""
    next_step = f" What to do: {fault.todo}." if fault.todo else ""
    return f"{where}{fault.message.rstrip('.')}.{next_step}"
