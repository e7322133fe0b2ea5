"""Starting guests, also when libvirtd was killed in an earlier start of the same guest."""

from __future__ import annotations

import time
from typing import Any

import libvirt

from app.errors import HostFault
from app.virt.libvirt.orphans import end_orphans

Domain = Any
"""A libvirt.virDomain."""
_STARTING = (libvirt.VIR_DOMAIN_PAUSED, libvirt.VIR_DOMAIN_PAUSED_STARTING_UP)
SETTLE_SECONDS = 10.0


def create(domain: Domain, flags: int) -> None:
    """Start the domain; that it runs already, as after a repeated call, is as good."""
    give_up(domain)
    if domain.isActive():
        return
    end_orphans(domain.name())
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        try:
            domain.createWithFlags(flags)
            return
        except libvirt.libvirtError as error:
            if error.get_error_code() == libvirt.VIR_ERR_OPERATION_INVALID and domain.isActive():
                return
            if not passes(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.2)


def passes(error: libvirt.libvirtError) -> bool:
    """Whether the start met the end of another guest, whose name of a link it was given.

    libvirtd takes the filter of a link away after the link, and refuses the next one of its name
    until then.
    """
    failed = error.get_error_code() == libvirt.VIR_ERR_OPERATION_FAILED
    return bool(failed and "is already being removed" in str(error))


def settle(domain: Domain) -> None:
    """Wait for the end of a start that libvirtd was killed in: its next life gives it up."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while tuple(domain.state()) == _STARTING and time.monotonic() < deadline:
        time.sleep(0.1)


def give_up(domain: Domain) -> None:
    """End a start that libvirtd was killed in, if its next life hangs in it: it waits for a word of
    a QEMU that says none. That QEMU has not run the guest; its end is an answer too.

    Raises HostFault "too_slow" when libvirtd holds on to it nevertheless.
    """
    settle(domain)
    if tuple(domain.state()) == _STARTING:
        end_orphans(domain.name())
        settle(domain)
    if tuple(domain.state()) == _STARTING:
        message = (
            f"start of server {domain.UUIDString()}: libvirtd does not give up an old one; if it "
            f"is not Novella's own, stop it, remove its qemu/{domain.name()}.xml below "
            "/run/libvirt, and start it again"
        )
        raise HostFault(message, code="too_slow")
