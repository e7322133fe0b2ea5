"""Network's answers. A GET shows of each thing only the `fields` that it asks for."""

from __future__ import annotations

from app.store.network_quotas import DEFAULTS
from app.web.shapes.parts import (
    ANY,
    EMPTY,
    LINKS,
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
_FIXED_IP = Record({"subnet_id": TEXT, "ip_address": TEXT})
_ROUTE = Record({"destination": TEXT, "nexthop": TEXT})
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
        "host_routes": many(_ROUTE),
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
        "fixed_ips": many(_FIXED_IP),
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


ROUTER = Record(
    {
        **_ALL,
        "admin_state_up": TRUTH,
        "status": {"const": "ACTIVE"},
        "external_gateway_info": maybe(
            Record(
                {
                    "network_id": TEXT,
                    "enable_snat": TRUTH,
                    "external_fixed_ips": many(_FIXED_IP),
                }
            )
        ),
        "routes": many(_ROUTE),
        "distributed": {"const": False},
        "ha": {"const": False},
        "availability_zone_hints": EMPTY,
        "availability_zones": many(TEXT),
        "flavor_id": NULL,
    },
    "Router",
)
_INTERFACE = ("id", "tenant_id", "project_id", "port_id", "network_id", "subnet_id")
ROUTER_INTERFACE = Record(
    {**dict.fromkeys(_INTERFACE, TEXT), "subnet_ids": many(TEXT), "tags": EMPTY},
    "RouterInterface",
)
_PORT_DETAILS = Record(
    {
        **dict.fromkeys(("name", "network_id", "mac_address", "device_id", "device_owner"), TEXT),
        "admin_state_up": TRUTH,
        "status": _STATUS,
    }
)
FLOATING_IP = Record(
    {
        **_OWNED,
        **_KEPT,
        "tags": EMPTY,
        "floating_ip_address": TEXT,
        "floating_network_id": TEXT,
        "fixed_ip_address": maybe(TEXT),
        "port_id": maybe(TEXT),
        "port_details": maybe(_PORT_DETAILS),
        "router_id": maybe(TEXT),
        "status": _STATUS,
        "dns_domain": {"const": ""},
        "dns_name": {"const": ""},
    },
    "FloatingIp",
)

# Quotas
_PROJECT: dict[str, Part] = {"project_id": TEXT, "tenant_id": TEXT}
_QUOTA = Record({**dict.fromkeys(DEFAULTS, WHOLE), **_PROJECT}, "NetworkQuota")
_USE = Record(dict.fromkeys(("limit", "used", "reserved"), WHOLE))
QUOTAS, ONE_QUOTA = page("quotas", _QUOTA), under("quota", _QUOTA)
QUOTA_DETAILS = under("quota", Record(dict.fromkeys(DEFAULTS, _USE)))

# What there is
_VERSION = Record({"id": TEXT, "status": {"const": "CURRENT"}, "links": LINKS})
VERSIONS = under("versions", many(_VERSION))
RESOURCES = under("resources", many(Record({"name": TEXT, "collection": TEXT, "links": LINKS})))
AGENTS = under("agents", EMPTY)
_ZONE = Record({"name": TEXT, "resource": {"const": "network"}, "state": {"const": "available"}})
ZONES = under("availability_zones", many(_ZONE))
_EXTENSION = Record(
    {**dict.fromkeys(("alias", "name", "description", "updated"), TEXT), "links": EMPTY},
    "NetworkExtension",
)
EXTENSIONS = under("extensions", many(_EXTENSION))
ONE_EXTENSION = under("extension", _EXTENSION)


def listed(name: str, record: Record) -> Record:
    """A list of them, each with the fields asked for."""
    return page(name, _chosen(record))


def shown(name: str, record: Record) -> Record:
    """One of them, with the fields asked for."""
    return under(name, _chosen(record))


def _chosen(record: Record) -> Record:
    fields = {name: sometimes(part) for name, part in record.fields.items()}
    return Record(fields, f"{record.name}Fields", ANY if record.rest else False)
