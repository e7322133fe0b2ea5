"""Which of the host's routes keep a subnet away."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest

from app.virt.libvirt.host_routes import overlapping

SUBNET = IPv4Network("10.90.4.0/24")
ETHERNET = {"dev": "eth0"}


@pytest.mark.parametrize(
    ("route", "user"),
    [
        ({"dst": "10.90.0.0/16", **ETHERNET}, "interface eth0"),
        ({"dst": "10.90.4.128/25", **ETHERNET}, "interface eth0"),
        ({"dst": "10.90.4.9", "type": "local", **ETHERNET}, "interface eth0"),
        ({"dst": "10.0.0.0/8", "type": "blackhole"}, "a route to 10.0.0.0/8"),
        ({"dst": "10.90.4.0/24", "dev": "own"}, None),
        ({"dst": "10.90.5.0/24", **ETHERNET}, None),
        ({"dst": "default", **ETHERNET}, None),
        ({"dst": "0.0.0.0/1", **ETHERNET}, None),
        ({"type": "unreachable"}, None),
    ],
)
def test_routes_and_addresses_in_a_subnet_use_it_and_ways_out_do_not(
    route: dict[str, Any], user: str | None
) -> None:
    assert overlapping([route], SUBNET, "own") == user
