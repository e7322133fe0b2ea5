"""A domain's state in Nova's terms, and changing it when libvirt's word may be old.

A libvirtd that has just started tells the state that its last life had noted, until it has asked
QEMU. A change that libvirt refuses because the guest has it already is done.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import libvirt

from app.domain.guest import CRASHED, NOSTATE, PAUSED, RUNNING, SHUTDOWN, SUSPENDED

Domain = Any
"""A libvirt.virDomain."""

_STATES = {
    libvirt.VIR_DOMAIN_NOSTATE: NOSTATE,
    libvirt.VIR_DOMAIN_RUNNING: RUNNING,
    libvirt.VIR_DOMAIN_BLOCKED: RUNNING,
    libvirt.VIR_DOMAIN_PAUSED: PAUSED,
    libvirt.VIR_DOMAIN_SHUTDOWN: RUNNING,
    libvirt.VIR_DOMAIN_SHUTOFF: SHUTDOWN,
    libvirt.VIR_DOMAIN_CRASHED: CRASHED,
    libvirt.VIR_DOMAIN_PMSUSPENDED: SUSPENDED,
}


def state_of(domain: Domain) -> int:
    """Nova's power state."""
    return _STATES.get(domain.state()[0], NOSTATE)


def resume(domain: Domain) -> None:
    """Let a paused guest run; no-op in any other state."""
    if state_of(domain) == PAUSED:
        _unless_it_is(RUNNING, domain, domain.resume)


def pause(domain: Domain) -> None:
    """Stop a running guest's CPUs; no-op in any other state."""
    if state_of(domain) == RUNNING:
        _unless_it_is(PAUSED, domain, domain.suspend)


def wake(domain: Domain) -> None:
    """Let a guest run that put itself to sleep; no-op when it runs."""
    _unless_it_is(RUNNING, domain, partial(domain.pMWakeup, 0))


def press_power_button(domain: Domain) -> None:
    """Ask the guest to shut down, by its agent or ACPI; no-op when it is off."""
    _unless_it_is(SHUTDOWN, domain, partial(domain.shutdownFlags, 0))


def _unless_it_is(state: int, domain: Domain, change: Callable[[], object]) -> None:
    try:
        change()
    except libvirt.libvirtError:
        if state_of(domain) != state:
            raise
