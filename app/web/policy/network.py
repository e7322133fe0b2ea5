"""Neutron's rules, by Neutron's names."""

from __future__ import annotations

_READER = "rule:project_reader_or_admin"

_MEMBER = "rule:project_member_or_admin"
_ADMIN = "rule:context_is_admin"
_OWNER = "rule:context_is_admin or (role:member and rule:network_owner)"
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
    *(f"get_network:provider:{what}" for what in ("network_type", "physical_network")),
    "get_network:provider:segmentation_id",
    *(f"get_port:binding:{what}" for what in ("host_id", "profile", "vif_details", "vif_type")),
    "create_port:binding:host_id",
    "update_port:binding:host_id",
    "create_floatingip:floating_ip_address",
    "get_quotas",
    "update_quota",
    "delete_quota",
    "get_agent",
)
_FOR_OWNERS_OF_THE_NETWORK = tuple(
    f"{verb}_port:{what}"
    for verb in ("create", "update")
    for what in ("mac_address", "allowed_address_pairs", "port_security_enabled")
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
    **dict.fromkeys(_FOR_OWNERS_OF_THE_NETWORK, _OWNER),
}
