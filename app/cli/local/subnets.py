"""Choosing the default network's addresses: private, unused here, and another for each cloud."""

from __future__ import annotations

import hashlib
import ipaddress
import json
import subprocess
from collections.abc import Iterable
from ipaddress import IPv4Network
from itertools import chain
from typing import Any

from app.errors import Conflict, Unavailable

PREFIX = 20
_PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16")
_SECONDS = 10


def choose(cloud_id: str, used: Iterable[IPv4Network]) -> IPv4Network:
    """A /20 that no network of `used` overlaps; where the search begins follows from the id.

    Raises Conflict when all private addresses are taken.
    """
    taken = list(used)
    start = int.from_bytes(hashlib.sha256(cloud_id.encode()).digest()[:4], "big")
    for block in map(IPv4Network, _PRIVATE):
        count = 2 ** (PREFIX - block.prefixlen)
        for step in range(count):
            offset = ((start + step) % count) << (32 - PREFIX)
            candidate = IPv4Network((int(block.network_address) + offset, PREFIX))
            if not any(candidate.overlaps(other) for other in taken):
                return candidate
    raise Conflict("no private /20 is free on this machine: set NOVELLA_NETWORK_CIDR to one to use")


def in_use() -> set[IPv4Network]:
    """The networks of this machine's addresses and routes, the default route aside."""
    routes = (route.get("dst", "") for route in _ip("route", "show", "table", "all"))
    addresses = (
        f"{one['local']}/{one['prefixlen']}"
        for interface in _ip("addr")
        for one in interface.get("addr_info", [])
        if one.get("family") == "inet"
    )
    found = set()
    for text in chain(routes, addresses):
        try:
            network = ipaddress.IPv4Network(text, strict=False)
        except ValueError:
            continue  # "default", and IPv6
        if network.prefixlen:
            found.add(network)
    return found


def _ip(*args: str) -> list[dict[str, Any]]:
    try:
        done = subprocess.run(
            ["ip", "-j", "-4", *args], capture_output=True, timeout=_SECONDS, check=True
        )
    except FileNotFoundError as error:
        raise Unavailable("`ip` is not installed: run bin/setup (package iproute2)") from error
    except (subprocess.SubprocessError, OSError) as error:
        raise Unavailable(f"`ip {' '.join(args)}` failed: {error}") from error
    parsed: list[dict[str, Any]] = json.loads(done.stdout or b"[]")
    return parsed
