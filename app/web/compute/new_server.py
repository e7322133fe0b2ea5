"""From the body of `POST /servers` to a NewServers whose every name has been looked up."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from typing import Any

from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.domain.new_servers import FlavorCopy, NewServers, WantedNic
from app.domain.resources import Resources
from app.domain.security_groups import DEFAULT_GROUP
from app.errors import Invalid, NotFound
from app.models import Flavor, Image, Server
from app.store import flavors, images, keypairs, server_groups, server_metadata, server_networks
from app.store import security_groups as groups
from app.web.body import is_true
from app.web.compute import destination, personality
from app.web.policy import require

GIB = 1024**3
MIB = 1024**2
_CREATE = "os_compute_api:servers:create:"
ASKS = (
    *(_CREATE + what for what in ("attach_network", "attach_volume", "trusted_certs")),
    f"{_CREATE}zero_disk_flavor",
    *destination.ASKS,
)
"""The rules that a create asks besides its own."""
_UNSUPPORTED = {
    "trusted_image_certificates": "image signatures are not verified here",
}


def parse(session: Session, caller: Caller, body: dict[str, Any]) -> NewServers:
    """What `body` (a checked one) asks for. Raises Invalid, naming the field."""
    wanted = body["server"]
    _permit(wanted)
    refuse_unsupported(wanted)
    low, high = _counts(wanted)
    flavor = _flavor(session, caller, str(wanted["flavorRef"]))
    image = _image(session, caller, wanted)
    if flavor.disk_gb == 0:  # whose disk is as large as whatever its image says
        require(f"{_CREATE}zero_disk_flavor")
    fits(flavor, image)
    place = destination.parse(session, wanted)
    key = wanted.get("key_name")
    nics = _nics(session, caller, wanted.get("networks"))
    metadata = wanted.get("metadata", {})
    server_metadata.check_quota(session, caller.project_id, len(metadata))
    hints = _hints(body)
    return NewServers(
        name=wanted["name"].strip(),
        flavor=_copy(flavor),
        image_id=image.id,
        nics=nics,
        security_groups=_groups(session, caller, wanted, nics),
        min_count=low,
        max_count=high,
        description=wanted.get("description"),
        hostname=wanted.get("hostname"),
        metadata=metadata,
        files=personality.parse(session, caller, wanted.get("personality"), "server"),
        image_properties=images.for_guests(image),
        user_data=user_data(wanted.get("user_data")),
        key_name=key,
        public_key=public_key(session, caller, key),
        config_drive=is_true(wanted.get("config_drive") or False),
        disk_config=wanted.get("OS-DCF:diskConfig", "MANUAL"),
        scheduler_hints=hints,
        group_id=_group(session, caller, hints),
        tags=tuple(sorted(set(wanted.get("tags", ())))),
        availability_zone=place.zone,
        forced_host=place.host,
        access_ipv4=address(wanted, "accessIPv4", 4),
        access_ipv6=address(wanted, "accessIPv6", 6),
    )


def _permit(wanted: dict[str, Any]) -> None:
    """Raise Forbidden for what the caller may not give a new server."""
    networks = wanted.get("networks")
    for given, what in (
        (wanted.get("block_device_mapping_v2"), "attach_volume"),
        (None if networks == "none" else networks, "attach_network"),
        (wanted.get("trusted_image_certificates"), "trusted_certs"),
    ):
        if given:
            require(_CREATE + what)


def refuse_unsupported(wanted: dict[str, Any], where: str = "server") -> None:
    """Raise Invalid for what a version allows and this cloud cannot do."""
    for name, because in _UNSUPPORTED.items():
        if wanted.get(name):
            raise Invalid(f"Invalid input for field {where}.{name}: {because}")


def _counts(wanted: dict[str, Any]) -> tuple[int, int]:
    low = int(wanted.get("min_count", 1))
    high = int(wanted.get("max_count", low))
    for name, value in (("min_count", low), ("max_count", high)):
        if not 1 <= value <= 1000:
            raise Invalid(f"Invalid input for field server.{name}: must be from 1 to 1000")
    if low > high:
        raise Invalid("min_count must be <= max_count")
    if high > 1 and "hostname" in wanted:
        raise Invalid("Unable to allocate a single hostname to multiple instances")
    one_only = any("fixed_ip" in nic or nic.get("port") for nic in _listed(wanted.get("networks")))
    if high > 1 and one_only:
        raise Invalid(
            "Unable to launch multiple instances with a single configured port ID or fixed IP. "
            "Please launch your instance one by one with different ports or addresses."
        )
    return low, high


def _listed(networks: Any) -> list[dict[str, Any]]:
    return networks if isinstance(networks, list) else []


def _flavor(session: Session, caller: Caller, ref: str) -> Flavor:
    # By id, or by a link that ends in one.
    try:
        found = flavors.get(session, caller, ref.rstrip("/").rsplit("/", 1)[-1])
    except NotFound as error:
        raise Invalid(error.message) from error
    if found.disabled:
        raise Invalid(f"Flavor {found.id} could not be found.")
    return found


def _copy(flavor: Flavor) -> FlavorCopy:
    return FlavorCopy(
        id=flavor.id,
        name=flavor.name,
        resources=Resources(flavor.vcpus, flavor.ram_mb, flavor.disk_gb),
        ephemeral_gb=flavor.ephemeral_gb,
        swap_mb=flavor.swap_mb,
        extra_specs=flavor.extra_specs,
    )


def _image(session: Session, caller: Caller, wanted: dict[str, Any]) -> Image:
    ref = wanted.get("imageRef") or ""
    devices = wanted.get("block_device_mapping_v2", [])
    for device in devices:
        ref = _only_the_image(device, ref)
    if len(devices) > 1:
        raise Invalid(
            "Invalid input for field server.block_device_mapping_v2: a server has one disk here"
        )
    if not ref:
        raise Invalid("Invalid imageRef provided: servers boot from an image here.")
    return usable_image(session, caller, ref)


def usable_image(session: Session, caller: Caller, ref: str) -> Image:
    """The image, which the caller sees and which has its data. Raises Invalid."""
    try:
        image = images.get(session, caller, ref)
    except NotFound as error:
        raise Invalid(f"Can not find requested image {ref}") from error
    if image.status != images.ACTIVE:
        raise Invalid(f"Image {ref} is not active.")
    return image


def _only_the_image(device: dict[str, Any], ref: str) -> str:
    """The image of a mapping that says no more than imageRef does; there are no volumes here."""
    boots = str(device.get("boot_index", "0")) == "0"
    local = device.get("destination_type", "local") == "local"
    image = device.get("uuid", ref)
    usual = (
        (device.get("device_type") or "disk") == "disk"
        and (device.get("disk_bus") or "virtio") == "virtio"
        and not device.get("guest_format")
        and not device.get("volume_size")
    )
    ours = device.get("source_type") == "image" and boots and local and usual
    if not ours or ref not in ("", image):
        raise Invalid(
            "Invalid input for field server.block_device_mapping_v2: only the image that the "
            "server boots from, on a local virtio disk of the flavor's size with boot_index 0"
        )
    return str(image)


def fits(flavor: Flavor | Server, image: Image) -> None:
    """Raise Invalid when a guest of this size cannot have the image's disk and memory."""
    if image.min_ram > flavor.ram_mb:
        raise Invalid(
            f"Flavor's memory ({flavor.ram_mb} MiB) is too small for requested image, which "
            f"needs {image.min_ram} MiB."
        )
    if flavor.disk_gb == 0:
        return  # as large as the image
    if image.min_disk > flavor.disk_gb:
        raise Invalid(
            f"Flavor's disk ({flavor.disk_gb} GiB) is smaller than the minimum size specified in "
            f"image metadata ({image.min_disk} GiB)."
        )
    needed = image.virtual_size or image.size or 0
    if needed > flavor.disk_gb * GIB:
        raise Invalid(
            f"Flavor's disk ({flavor.disk_gb} GiB) is too small for requested image, whose disk "
            f"has {-(-needed // MIB)} MiB."
        )


def _nics(session: Session, caller: Caller, given: Any) -> tuple[WantedNic, ...]:
    if given == "none":
        return ()
    if not given or given == "auto":
        found = server_networks.default_nics(session, caller)
        if given == "auto" and not found:
            raise Invalid("Unable to automatically allocate a network: the project has none.")
        return server_networks.check(session, caller, found)
    return server_networks.check(session, caller, [_nic(at, one) for at, one in enumerate(given)])


def _nic(at: int, one: dict[str, Any]) -> WantedNic:
    field = f"server.networks.{at}"
    if one.get("port"):
        return WantedNic("", port_id=one["port"], tag=one.get("tag"))
    if not one.get("uuid"):
        raise Invalid(f"Invalid input for field {field}: needs the uuid of a network or a port")
    address = ip_address(one.get("fixed_ip"), f"{field}.fixed_ip", 4)
    return WantedNic(one["uuid"], address, tag=one.get("tag"))


def _groups(
    session: Session, caller: Caller, wanted: dict[str, Any], nics: tuple[WantedNic, ...]
) -> tuple[tuple[str, str], ...]:
    """(id, name) of the groups for the ports that are made for the servers."""
    asked = [one.get("name", DEFAULT_GROUP) for one in wanted.get("security_groups", [])]
    try:
        found = groups.named(session, caller.project_id, asked or [DEFAULT_GROUP])
    except NotFound as error:
        field = "Invalid input for field server.security_groups"
        raise Invalid(f"{field}: {error.message}", code=error.code) from error
    return found if any(nic.port_id is None for nic in nics) else ()


def _hints(body: dict[str, Any]) -> dict[str, Any]:
    hints: dict[str, Any] = (
        body.get("os:scheduler_hints") or body.get("OS-SCH-HNT:scheduler_hints") or {}
    )
    return hints


def _group(session: Session, caller: Caller, hints: dict[str, Any]) -> str | None:
    if "group" not in hints:
        return None
    try:
        return server_groups.get(session, caller, hints["group"]).id
    except NotFound as error:
        raise Invalid(error.message) from error


def user_data(given: str | None, field: str = "server.user_data") -> str | None:
    """What was given, if it is base64. Raises Invalid."""
    if given is None:
        return None
    try:
        base64.b64decode(re.sub(r"\s", "", given), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"Invalid input for field {field}: is not base64") from error
    return given


def public_key(session: Session, caller: Caller, name: str | None) -> str | None:
    """The text of the caller's key of that name. Raises Invalid."""
    if name is None:
        return None
    try:
        return keypairs.get(session, caller.user_id, name).public_key
    except NotFound as error:
        raise Invalid("Invalid key_name provided.") from error


def address(wanted: dict[str, Any], field: str, version: int, where: str = "server") -> str | None:
    """The address in `field` in its shortest form; None for an empty one. Raises Invalid."""
    return ip_address(wanted.get(field) or None, f"{where}.{field}", version)


def ip_address(given: str | None, field: str, version: int) -> str | None:
    """An address in its shortest form; None for None. Raises Invalid, naming the field."""
    if given is None:
        return None
    try:
        found = ipaddress.ip_address(given)
    except ValueError as error:
        raise Invalid(f"Invalid input for field {field}: not an IPv{version} address") from error
    if found.version != version or "%" in given:
        raise Invalid(f"Invalid input for field {field}: not an IPv{version} address")
    return str(found)
