"""Bodies of Network's requests."""

from __future__ import annotations

from app.web.body import BOOLEAN, UUID, Json, Schema, integer, only

TEXT: Json = {"type": "string", "maxLength": 255}
_LONG: Json = {"type": "string", "maxLength": 4096}
_NULL: Json = {"type": "null"}
_PROJECT: Json = {"type": "string", "minLength": 1, "maxLength": 64}
_ADDRESS: Json = {"type": "string", "maxLength": 45}
_CIDR: Json = {"type": "string", "maxLength": 64}
_NO_LIST: Json = {"type": "array", "maxItems": 0}
_MAC: Json = {"type": "string", "maxLength": 17, "pattern": "^[0-9a-fA-F]{2}(:[0-9a-fA-F]{2}){5}$"}


def _maybe(schema: Json) -> Json:
    return {"anyOf": [schema, _NULL]}


def _list(items: Json, most: int) -> Json:
    return {"type": "array", "items": items, "maxItems": most}


_OWNER: dict[str, Json] = {"project_id": _PROJECT, "tenant_id": _PROJECT}
_NAMED: dict[str, Json] = {"name": TEXT, "description": TEXT}

# Networks and subnets

_NETWORK: dict[str, Json] = {
    **_NAMED,
    "admin_state_up": BOOLEAN,
    "shared": BOOLEAN,
    "router:external": BOOLEAN,
    "is_default": BOOLEAN,
    "port_security_enabled": BOOLEAN,
    "mtu": integer(68, 65535),
}
_PROVIDER: dict[str, Json] = {
    "provider:network_type": {"enum": ["local", "nat", "flat", "vlan", "vxlan", "gre", "geneve"]},
    "provider:physical_network": _maybe({"type": "string", "maxLength": 64}),
    "provider:segmentation_id": _maybe(integer(0)),
}
_HINTS: dict[str, Json] = {"availability_zone_hints": _list(TEXT, 16)}
NEW_NETWORK = Schema(
    "NewNetwork", only({"network": only({}, {**_NETWORK, **_PROVIDER, **_HINTS, **_OWNER})})
)
NETWORK = Schema("NetworkChange", only({"network": only({}, _NETWORK)}))

_POOL: Json = only({"start": _ADDRESS, "end": _ADDRESS})
_ROUTE: Json = only({"destination": _CIDR, "nexthop": _ADDRESS})
_SUBNET: dict[str, Json] = {
    **_NAMED,
    "gateway_ip": _maybe(_ADDRESS),
    "allocation_pools": {"type": "array", "items": _POOL, "minItems": 1, "maxItems": 16},
    "dns_nameservers": _list(_ADDRESS, 5),
    "host_routes": _list(_ROUTE, 20),
    "enable_dhcp": BOOLEAN,
}
_NEW_SUBNET: dict[str, Json] = {
    **_SUBNET,
    "ip_version": {"enum": [4, "4"]},
    "ipv6_address_mode": _NULL,
    "ipv6_ra_mode": _NULL,
    "subnetpool_id": _NULL,
    "service_types": _NO_LIST,
    **_OWNER,
}
NEW_SUBNET = Schema(
    "NewSubnet", only({"subnet": only({"network_id": UUID, "cidr": _CIDR}, _NEW_SUBNET)})
)
SUBNET = Schema("SubnetChange", only({"subnet": only({}, _SUBNET | {"service_types": _NO_LIST})}))

# Ports

_FIXED: Json = only({}, {"subnet_id": UUID, "ip_address": _ADDRESS})
_PAIR: Json = only({"ip_address": _CIDR}, {"mac_address": _MAC})
_PORT: dict[str, Json] = {
    **_NAMED,
    "admin_state_up": BOOLEAN,
    "fixed_ips": {"type": "array", "items": _FIXED, "maxItems": 16},
    "mac_address": _MAC,
    "device_id": TEXT,
    "device_owner": TEXT,
    "security_groups": _maybe(_list(UUID, 64)),
    "port_security_enabled": BOOLEAN,
    "allowed_address_pairs": _list(_PAIR, 10),
    "binding:host_id": _maybe(TEXT),
    "binding:vnic_type": {"enum": ["normal"]},
    "binding:profile": _maybe({"type": "object", "maxProperties": 0}),
    "extra_dhcp_opts": _NO_LIST,
    "qos_policy_id": _NULL,
    "propagate_uplink_status": BOOLEAN,
}
NEW_PORT = Schema("NewPort", only({"port": only({"network_id": UUID}, {**_PORT, **_OWNER})}))
PORT = Schema("PortChange", only({"port": only({}, _PORT)}))

# Security groups

_GROUP: dict[str, Json] = {**_NAMED, "stateful": {"enum": [True, "True", "true", "1", 1]}}
NEW_GROUP = Schema(
    "NewSecurityGroup",
    only({"security_group": only({}, {**_GROUP, **_OWNER})}),
)
GROUP = Schema("SecurityGroupChange", only({"security_group": only({}, _GROUP)}))
_PORT_NUMBER: Json = _maybe(integer(0, 65535))
NEW_RULE = Schema(
    "NewSecurityGroupRule",
    only(
        {
            "security_group_rule": only(
                {"security_group_id": UUID, "direction": {"enum": ["ingress", "egress"]}},
                {
                    "ethertype": {"enum": ["IPv4", "IPv6", "ipv4", "ipv6"]},
                    "protocol": _maybe(
                        {"anyOf": [{"type": "string", "maxLength": 16}, integer(0, 255)]}
                    ),
                    "port_range_min": _PORT_NUMBER,
                    "port_range_max": _PORT_NUMBER,
                    "remote_ip_prefix": _maybe(_CIDR),
                    "remote_group_id": _maybe(UUID),
                    "remote_address_group_id": _NULL,
                    "description": TEXT,
                    **_OWNER,
                },
            )
        }
    ),
)

# Routers and floating addresses

_GATEWAY: Json = _maybe(
    only(
        {"network_id": UUID},
        {"enable_snat": BOOLEAN, "external_fixed_ips": _list(_FIXED, 1)},
    )
)
_ROUTER: dict[str, Json] = {
    **_NAMED,
    "admin_state_up": BOOLEAN,
    "external_gateway_info": _GATEWAY,
    "routes": _list(_ROUTE, 30),
    "distributed": {"enum": [False]},
    "ha": {"enum": [False]},
}
NEW_ROUTER = Schema("NewRouter", only({"router": only({}, {**_ROUTER, **_HINTS, **_OWNER})}))
ROUTER = Schema("RouterChange", only({"router": only({}, _ROUTER)}))
INTERFACE = Schema(
    "RouterInterface",
    {**only({}, {"subnet_id": UUID, "port_id": UUID}), "minProperties": 1},
)
_FLOATING: dict[str, Json] = {
    "port_id": _maybe(UUID),
    "fixed_ip_address": _maybe(_ADDRESS),
    "description": TEXT,
}
NEW_FLOATING = Schema(
    "NewFloatingIp",
    only(
        {
            "floatingip": only(
                {"floating_network_id": UUID},
                {
                    **_FLOATING,
                    "floating_ip_address": _ADDRESS,
                    "subnet_id": _maybe(UUID),
                    "qos_policy_id": _NULL,
                    **_OWNER,
                },
            )
        }
    ),
)
FLOATING = Schema("FloatingIpChange", only({"floatingip": only({}, _FLOATING)}))

# Quotas

_LIMIT: Json = {"type": "integer", "minimum": -1, "maximum": 2**31 - 1}
QUOTA = Schema(
    "NetworkQuota",
    only(
        {
            "quota": only(
                {},
                {
                    name: {"anyOf": [_LIMIT, {"type": "string", "pattern": "^(-1|[0-9]{1,9})$"}]}
                    for name in (
                        "network", "subnet", "port", "router", "floatingip", "security_group",
                        "security_group_rule", "subnetpool", "rbac_policy",
                    )
                }
                | _OWNER
                | {"force": BOOLEAN, "check_limit": BOOLEAN},
            )
        }
    ),
)  # fmt: skip
