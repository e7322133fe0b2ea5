"""Everything that a cloud may leave on a host, as text to compare before and after."""

from __future__ import annotations

import subprocess
import time
import xml.etree.ElementTree as ET

import libvirt

from tests.cloud import Cloud
from tests.integration.virt_fixtures import OwnLibvirtd


def listing(own: OwnLibvirtd, cloud: Cloud, host: str = "n1") -> dict[str, object]:
    """Domains, DHCP entries, files, links and addresses of one hypervisor.

    The cloud's network and the image cache may stay: they are left out where they are named.
    """
    connection = libvirt.open(own.uri)
    try:
        domains = sorted(domain.UUIDString() for domain in connection.listAllDomains())
        dhcp = [
            entry.get("mac")
            for network in connection.listAllNetworks()
            for entry in ET.fromstring(network.XMLDesc()).findall("ip/dhcp/host")
            if entry.get("name") != "gateway"  # the network's own, there to keep DHCP running
        ]
    finally:
        connection.close()
    folder = cloud.directory / "hosts" / host / "instances"
    files = sorted(str(path) for path in folder.rglob("*")) if folder.exists() else []
    links = [line for line in _ip(own, "-o", "link") if "vnet" in line]
    addresses = [line for line in _ip(own, "-o", "addr") if "vnet" in line]
    return {
        "domains": domains,
        "dhcp": sorted(dhcp, key=str),
        "files": files,
        "links": links,
        "addresses": addresses,
    }


def _ip(own: OwnLibvirtd, *args: str) -> list[str]:
    done = subprocess.run(
        ["ip", "-n", own.netns, *args], check=True, capture_output=True, text=True, timeout=10
    )
    return done.stdout.splitlines()


def unchanged(own: OwnLibvirtd, cloud: Cloud, before: dict[str, object], host: str = "n1") -> None:
    """Wait until the hypervisor is as before; fails with what differs."""
    deadline = time.monotonic() + 10
    while (now := listing(own, cloud, host)) != before and time.monotonic() < deadline:
        time.sleep(0.2)
    differs = {name: (before[name], now[name]) for name in before if before[name] != now[name]}
    if differs:
        raise AssertionError(f"(before, now): {differs}")
