"""What a libvirt hypervisor driver can do: the one place that knows the test driver's gaps."""

from __future__ import annotations

from dataclasses import dataclass

from app.errors import HostFault
from app.virt.libvirt.connection import Link


@dataclass(frozen=True)
class Abilities:
    """`runs_guests`: it is QEMU, not libvirt's pretence of a hypervisor.

    `starts_paused`: it takes VIR_DOMAIN_START_PAUSED; otherwise a guest is started, and paused
    at once. `plugs_in`: devices come and go while a guest runs; otherwise with its definition only.
    `network_views`: a running network's definition can be read and changed apart from
    what runs.
    """

    runs_guests: bool
    starts_paused: bool
    plugs_in: bool
    network_views: bool


_KNOWN = {
    "QEMU": Abilities(runs_guests=True, starts_paused=True, plugs_in=True, network_views=True),
    "TEST": Abilities(runs_guests=False, starts_paused=False, plugs_in=False, network_views=False),
}


def abilities(link: Link) -> Abilities:
    """What the hypervisor behind `link` can do. Raises HostFault for one we do not drive."""
    kind = link.getType()
    try:
        return _KNOWN[kind]
    except KeyError as error:
        message = f"libvirt's {kind} driver is not one of {', '.join(_KNOWN)}"
        raise HostFault(message, code="unknown_hypervisor", retriable=False) from error
