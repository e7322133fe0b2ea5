"""What the host itself uses of a subnet: libvirt refuses a network only for an equal route."""

from __future__ import annotations

import ipaddress
import json
from typing import Any

from app.errors import HostFault
from app.virt.libvirt.child import run
from app.virt.libvirt.stale_bridge import namespace

SECONDS = 10.0
_WIDE = 8
"""Routes to more than this prefix holds are ways out, like the default one (VPNs have two /1)."""


def user_of(uri: str, cidr: str, bridge: str) -> str | None:
    """What routes to an address in `cidr`, or has one, but for `bridge`: an interface's name, or a
    route's kind; None for nothing. In the network namespace of `uri`'s libvirtd.

    Raises HostFault when that cannot be found out.
    """
    try:
        inside = ["nsenter", f"--net={namespace(uri)}", "--"]
    except OSError as error:
        raise HostFault(f"libvirtd is away: {error}", code="hypervisor_away") from error
    # Addresses are routes too, of the table "local".
    text = run([*inside, "ip", "-json", "-4", "route", "show", "table", "all"], SECONDS)
    return overlapping(json.loads(text or "[]"), ipaddress.IPv4Network(cidr), bridge)


def overlapping(
    routes: list[dict[str, Any]], subnet: ipaddress.IPv4Network, bridge: str
) -> str | None:
    """As `user_of`, of the routes that iproute2 lists."""
    for route in routes:
        if route.get("dst", "default") == "default" or route.get("dev") == bridge:
            continue
        there = ipaddress.IPv4Network(route["dst"], strict=False)
        if there.prefixlen >= _WIDE and there.overlaps(subnet):
            return f"interface {route['dev']}" if "dev" in route else f"a route to {there}"
    return None
