"""What our things on a host are called, so that two clouds on one libvirtd never collide."""

from __future__ import annotations

import hashlib
import re
import uuid

_NAMESPACE = uuid.UUID("8f0c7ad2-5cc6-5f3a-9a53-0f7a3ab6f0d1")
_UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\Z")
_LABEL = 63
"""The longest label of a DNS name."""


def domain_prefix(cloud_id: str) -> str:
    """What the names of all our libvirt domains begin with."""
    return f"novella-{cloud_id[:8]}-"


def domain_name(cloud_id: str, server_id: str) -> str:
    """The libvirt domain of a server; its uuid is the server's id."""
    return domain_prefix(cloud_id) + server_id


def network_prefix(cloud_id: str) -> str:
    """What the names of all our libvirt networks begin with."""
    return f"nov-{cloud_id[:8]}-"


def network_name(cloud_id: str, network_id: str) -> str:
    """The libvirt network of one of our networks."""
    return network_prefix(cloud_id) + network_id[:8]


def network_uuid(cloud_id: str, network_id: str) -> str:
    """Its uuid; the same for every ensure, so that two of them at once define one network."""
    return str(uuid.uuid5(_NAMESPACE, f"{cloud_id}/{network_id}"))


def bridge_name(cloud_id: str, network_id: str) -> str:
    """Its bridge: 14 characters, of the kernel's 15."""
    return "nv" + hashlib.sha256(f"{cloud_id}/{network_id}".encode()).hexdigest()[:12]


def dhcp_name(hostname: str, server_id: str, index: int = 0) -> str:
    """The name in a DHCP entry: readable, unique in its network, and it ends in the server's id.

    `index` tells apart several interfaces of one server in one network.
    """
    suffix = f"-{index}-{server_id}" if index else f"-{server_id}"
    readable = hostname[: _LABEL - len(suffix)].strip("-") or "guest"
    return f"{readable}{suffix}"


def server_of(name: str) -> str | None:
    """The server id in a DHCP entry's name or a domain's name; None when it has none."""
    return name[-36:] if _UUID.match(name[-36:]) else None
