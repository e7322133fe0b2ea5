"""Neutron's rules, by Neutron's names."""

from __future__ import annotations

_READER = "rule:project_reader_or_admin"

_MEMBER = "rule:project_member_or_admin"
_ADMIN = "rule:context_is_admin"
_KINDS = ("network", "subnet", "port", "security_group", "floatingip", "router")
_FOR_ADMINISTRATORS = (
    *(
        f"{verb}_network:{what}"
        for verb in ("create", "update")
        for what in (
            "shared",
            "router:external",
            "is_default",
            "provider:network_type",
            "provider:physical_network",
            "provider:segmentation_id",
        )
    ),
    "create_port:binding:host_id",
    "update_port:binding:host_id",
    "get_quotas",
    "update_quota",
    "delete_quota",
    "get_agent",
)

RULES = {
    **{f"get_{kind}": _READER for kind in (*_KINDS, "security_group_rule", "quota")},
    **{f"{verb}_{kind}": _MEMBER for verb in ("create", "update", "delete") for kind in _KINDS},
    "create_security_group_rule": _MEMBER,
    "delete_security_group_rule": _MEMBER,
    "add_router_interface": _MEMBER,
    "remove_router_interface": _MEMBER,
    "get_extension": "@",
    "get_availability_zone": "@",
    **dict.fromkeys(_FOR_ADMINISTRATORS, _ADMIN),
}
