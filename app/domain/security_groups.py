"""Security groups: the one that each project has, and the rules that a new one begins with."""

from __future__ import annotations

import uuid

from app.domain.networking import EGRESS, INGRESS

DEFAULT_GROUP = "default"
DEFAULT_DESCRIPTION = "Default security group"
ETHERTYPES = ("IPv4", "IPv6")
_NAMESPACE = uuid.UUID("7a3c1f0e-5d0b-4c52-9f5e-1f6f0c6f2b9a")

PROTOCOLS = {
    "icmp": 1, "igmp": 2, "ipip": 4, "tcp": 6, "egp": 8, "udp": 17, "dccp": 33, "ipv6-encap": 41,
    "ipv6-route": 43, "ipv6-frag": 44, "rsvp": 46, "gre": 47, "esp": 50, "ah": 51,
    "ipv6-icmp": 58, "icmpv6": 58, "ipv6-nonxt": 59, "ipv6-opts": 60, "ospf": 89, "pgm": 113,
    "vrrp": 112, "sctp": 132, "udplite": 136,
}  # fmt: skip
"""Protocols by the names that Neutron knows, with their numbers."""
WITH_PORTS = ("tcp", "udp", "sctp", "dccp", "udplite")
ICMP = ("icmp", "ipv6-icmp", "icmpv6")


def default_id(project_id: str) -> str:
    """The id of a project's default group: each has its own, always the same."""
    return str(uuid.uuid5(_NAMESPACE, project_id))


def first_rules(group_id: str, *, default: bool) -> list[dict[str, str | None]]:
    """What a new group lets pass: everything out, and into `default` its own members' traffic."""
    rules: list[dict[str, str | None]] = [
        {"direction": EGRESS, "ethertype": kind, "remote_group_id": None} for kind in ETHERTYPES
    ]
    if default:
        rules += [
            {"direction": INGRESS, "ethertype": kind, "remote_group_id": group_id}
            for kind in ETHERTYPES
        ]
    return rules
