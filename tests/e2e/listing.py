"""Everything that a cloud may leave on a host, as text to compare before and after."""

from __future__ import annotations

import subprocess

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
        networks = {n.name(): n.XMLDesc().count("<host ") for n in connection.listAllNetworks()}
    finally:
        connection.close()
    folder = cloud.directory / "hosts" / host / "instances"
    files = sorted(str(path) for path in folder.rglob("*")) if folder.exists() else []
    links = [line for line in _ip(own, "-o", "link") if "vnet" in line]
    addresses = [line for line in _ip(own, "-o", "addr") if "vnet" in line]
    return {
        "domains": domains,
        "dhcp": sum(networks.values()),
        "files": files,
        "links": links,
        "addresses": addresses,
    }


def _ip(own: OwnLibvirtd, *args: str) -> list[str]:
    done = subprocess.run(
        ["ip", "-n", own.netns, *args], check=True, capture_output=True, text=True, timeout=10
    )
    return done.stdout.splitlines()
