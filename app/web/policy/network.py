"""Neutron's rules, by Neutron's names."""

from __future__ import annotations

_READER = "rule:project_reader_or_admin"

RULES = {
    "get_network": _READER,
    "get_subnet": _READER,
    "get_port": _READER,
    "get_extension": "@",
    "get_availability_zone": "@",
    "get_quota": _READER,
    "get_quotas": "rule:context_is_admin",
    "get_security_group": _READER,
    "get_security_group_rule": _READER,
    "get_floatingip": _READER,
    "get_router": _READER,
    "get_agent": "rule:context_is_admin",
}
