"""Network's answers. A GET shows of each thing only the `fields` that it asks for."""

from __future__ import annotations

from app.web.shapes.parts import (
    ANY,
    EMPTY,
    NULL,
    TEXT,
    TRUTH,
    WHOLE,
    Part,
    Record,
    many,
    maybe,
    page,
    sometimes,
    under,
)

_OWNED: dict[str, Part] = {"id": TEXT, "tenant_id": TEXT, "project_id": TEXT, "description": TEXT}
_KEPT: dict[str, Part] = {"revision_number": WHOLE, "created_at": TEXT, "updated_at": TEXT}
_ALL: dict[str, Part] = {**_OWNED, **_KEPT, "name": TEXT, "tags": EMPTY}
_STATUS = {"enum": ["ACTIVE", "DOWN"]}
NETWORK = Record(
    {
        **_ALL,
        "status": _STATUS,
        "admin_state_up": TRUTH,
        "shared": TRUTH,
        "is_default": TRUTH,
        "router:external": TRUTH,
        "mtu": WHOLE,
        "subnets": many(TEXT),
        "port_security_enabled": TRUTH,
        "availability_zone_hints": EMPTY,
        "availability_zones": many(TEXT),
        "ipv4_address_scope": NULL,
        "ipv6_address_scope": NULL,
        "provider:network_type": sometimes(TEXT),
        "provider:physical_network": sometimes(maybe(TEXT)),
        "provider:segmentation_id": sometimes(maybe(WHOLE)),
    },
    "Network",
)
SUBNET = Record(
    {
        **_ALL,
        "network_id": TEXT,
        "ip_version": {"const": 4},
        "cidr": TEXT,
        "gateway_ip": maybe(TEXT),
        "allocation_pools": many(Record({"start": TEXT, "end": TEXT})),
        "dns_nameservers": many(TEXT),
        "host_routes": many(Record({"destination": TEXT, "nexthop": TEXT})),
        "enable_dhcp": TRUTH,
        "ipv6_address_mode": NULL,
        "ipv6_ra_mode": NULL,
        "subnetpool_id": NULL,
        "service_types": EMPTY,
    },
    "Subnet",
)
PORT = Record(
    {
        **_ALL,
        "network_id": TEXT,
        "mac_address": TEXT,
        "fixed_ips": many(Record({"subnet_id": TEXT, "ip_address": TEXT})),
        "device_id": TEXT,
        "device_owner": TEXT,
        "status": _STATUS,
        "admin_state_up": TRUTH,
        "port_security_enabled": TRUTH,
        "security_groups": many(TEXT),
        "allowed_address_pairs": many(Record({"ip_address": TEXT, "mac_address": TEXT})),
        "extra_dhcp_opts": EMPTY,
        "binding:vnic_type": TEXT,
        "binding:host_id": sometimes(TEXT),
        "binding:vif_type": sometimes(TEXT),
        "binding:vif_details": sometimes({"type": "object"}),
        "binding:profile": sometimes({"type": "object"}),
    },
    "Port",
)
SECURITY_RULE = Record(
    {
        **_OWNED,
        **_KEPT,
        "security_group_id": TEXT,
        "direction": {"enum": ["ingress", "egress"]},
        "ethertype": {"enum": ["IPv4", "IPv6"]},
        "protocol": maybe(TEXT),
        "port_range_min": maybe(WHOLE),
        "port_range_max": maybe(WHOLE),
        "remote_ip_prefix": maybe(TEXT),
        "remote_group_id": maybe(TEXT),
        "remote_address_group_id": NULL,
        "normalized_cidr": maybe(TEXT),
        "belongs_to_default_sg": TRUTH,
    },
    "SecurityGroupRule",
)
SECURITY_GROUP = Record(
    {**_ALL, "stateful": TRUTH, "shared": TRUTH, "security_group_rules": many(SECURITY_RULE)},
    "SecurityGroup",
)


def listed(name: str, record: Record) -> Record:
    """A list of them, each with the fields asked for."""
    return page(name, _chosen(record))


def shown(name: str, record: Record) -> Record:
    """One of them, with the fields asked for."""
    return under(name, _chosen(record))


def _chosen(record: Record) -> Record:
    fields = {name: sometimes(part) for name, part in record.fields.items()}
    return Record(fields, f"{record.name}Fields", ANY if record.rest else False)
