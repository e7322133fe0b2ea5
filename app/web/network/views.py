"""What Network has, as clients see it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.domain.networking import network_of
from app.domain.security_groups import default_id
from app.models import FloatingIp, Network, Port, Router, SecurityGroup, SecurityRule, Subnet
from app.web.policy import allows
from app.web.times import seconds

PROVIDER = tuple(
    f"get_network:provider:{what}"
    for what in ("network_type", "physical_network", "segmentation_id")
)
BINDING = tuple(
    f"get_port:binding:{what}" for what in ("host_id", "vif_type", "vif_details", "profile")
)
"""The rules that show an attribute, which stands behind the first colon."""


def provided() -> frozenset[str]:
    """The attributes of how a network is provided that the caller sees."""
    return _seen(PROVIDER)


def bound() -> frozenset[str]:
    """The attributes of where a port is bound that the caller sees."""
    return _seen(BINDING)


def _seen(rules: Iterable[str]) -> frozenset[str]:
    return frozenset(rule.partition(":")[2] for rule in rules if allows(rule))


def _only(seen: frozenset[str], shown: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if name in seen}


def network(row: Network, subnets: Iterable[str], seen: frozenset[str]) -> dict[str, Any]:
    """A network; of how it is provided, the attributes in `seen`."""
    shown: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "tenant_id": row.project_id,
        "project_id": row.project_id,
        "status": "ACTIVE" if row.admin_state_up else "DOWN",
        "admin_state_up": row.admin_state_up,
        "shared": row.shared,
        "is_default": row.is_default,
        "router:external": row.external,
        "mtu": row.mtu,
        "subnets": list(subnets),
        "port_security_enabled": row.port_security_enabled,
        "availability_zone_hints": [],
        "availability_zones": ["nova"],
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
        "revision_number": 1,
        "tags": [],
        "created_at": seconds(row.created_at),
        "updated_at": seconds(row.updated_at),
    }
    return shown | _only(
        seen,
        {
            "provider:network_type": row.network_type,
            "provider:physical_network": row.physical_network,
            "provider:segmentation_id": row.segmentation_id,
        },
    )


def subnet(row: Subnet) -> dict[str, Any]:
    """A subnet."""
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "network_id": row.network_id,
        "tenant_id": row.project_id,
        "project_id": row.project_id,
        "ip_version": 4,
        "cidr": row.cidr,
        "gateway_ip": row.gateway_ip,
        "allocation_pools": row.pools,
        "dns_nameservers": row.dns,
        "host_routes": row.host_routes,
        "enable_dhcp": row.enable_dhcp,
        "ipv6_address_mode": None,
        "ipv6_ra_mode": None,
        "subnetpool_id": None,
        "service_types": [],
        "revision_number": 1,
        "tags": [],
        "created_at": seconds(row.created_at),
        "updated_at": seconds(row.updated_at),
    }


def port(
    row: Port,
    facts: Mapping[str, tuple[str | None, str, str]],
    groups: Iterable[str],
    seen: frozenset[str],
) -> dict[str, Any]:
    """A port. `facts` has its server's host, vm_state and zone; of where it is bound, `seen`."""
    host, vm_state, zone = facts.get(row.id, (None, "", ""))
    service = row.device_owner.startswith("network:")
    fixed = [{"subnet_id": row.subnet_id, "ip_address": row.address}] if row.address else []
    shown: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "network_id": row.network_id,
        "tenant_id": row.project_id,
        "project_id": row.project_id,
        "mac_address": row.mac,
        "fixed_ips": fixed,
        "device_id": row.server_id or row.device_id,
        "device_owner": f"compute:{zone}" if row.server_id else row.device_owner,
        "status": "ACTIVE" if vm_state == "active" or service else "DOWN",
        "admin_state_up": row.admin_state_up,
        "port_security_enabled": row.port_security_enabled,
        "security_groups": list(groups),
        "allowed_address_pairs": row.address_pairs,
        "extra_dhcp_opts": [],
        "binding:vnic_type": "normal",
        "revision_number": 1,
        "tags": [],
        "created_at": seconds(row.created_at),
        "updated_at": seconds(row.updated_at),
    }
    return shown | _only(
        seen,
        {
            "binding:host_id": host or row.host_id,
            "binding:vif_type": "bridge" if host else "unbound",
            "binding:vif_details": {},
            "binding:profile": {},
        },
    )


def security_group(row: SecurityGroup, rules: Iterable[SecurityRule]) -> dict[str, Any]:
    """A security group with its rules."""
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "stateful": True,
        "shared": False,
        "tenant_id": row.project_id,
        "project_id": row.project_id,
        "security_group_rules": [security_rule(rule) for rule in rules],
        "revision_number": 1,
        "tags": [],
        "created_at": seconds(row.created_at),
        "updated_at": seconds(row.updated_at),
    }


def security_rule(row: SecurityRule) -> dict[str, Any]:
    """A rule of a security group."""
    return {
        "id": row.id,
        "security_group_id": row.group_id,
        "direction": row.direction,
        "ethertype": row.ethertype,
        "protocol": row.protocol,
        "port_range_min": row.port_min,
        "port_range_max": row.port_max,
        "remote_ip_prefix": row.remote_ip,
        "remote_group_id": row.remote_group_id,
        "remote_address_group_id": None,
        "normalized_cidr": network_of(row.remote_ip),
        "belongs_to_default_sg": row.group_id == default_id(row.project_id),
        "description": row.description,
        "tenant_id": row.project_id,
        "project_id": row.project_id,
        "revision_number": 1,
        "created_at": seconds(row.created_at),
        "updated_at": seconds(row.updated_at),
    }


def router(row: Router, gateway: Port | None) -> dict[str, Any]:
    """A router; `gateway` is its port on the external network."""
    outside = None
    if row.external_network_id is not None:
        fixed = gateway is not None and gateway.address is not None
        outside = {
            "network_id": row.external_network_id,
            "enable_snat": row.enable_snat,
            "external_fixed_ips": [{"subnet_id": gateway.subnet_id, "ip_address": gateway.address}]
            if gateway is not None and fixed
            else [],
        }
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "tenant_id": row.project_id,
        "project_id": row.project_id,
        "admin_state_up": row.admin_state_up,
        "status": "ACTIVE",
        "external_gateway_info": outside,
        "routes": row.routes,
        "distributed": False,
        "ha": False,
        "availability_zone_hints": [],
        "availability_zones": ["nova"],
        "flavor_id": None,
        "revision_number": 1,
        "tags": [],
        "created_at": seconds(row.created_at),
        "updated_at": seconds(row.updated_at),
    }


def floating_ip(row: FloatingIp, port: Port | None) -> dict[str, Any]:
    """A floating address; `port` is the one that it stands for."""
    details = None
    if port is not None:
        details = {
            "name": port.name,
            "network_id": port.network_id,
            "mac_address": port.mac,
            "admin_state_up": port.admin_state_up,
            "status": "ACTIVE" if port.server_id else "DOWN",
            "device_id": port.server_id or port.device_id,
            "device_owner": "compute:nova" if port.server_id else port.device_owner,
        }
    return {
        "id": row.id,
        "floating_ip_address": row.address,
        "floating_network_id": row.network_id,
        "fixed_ip_address": port.address if port is not None else None,
        "port_id": row.port_id,
        "port_details": details,
        "router_id": row.router_id if port is not None else None,
        "status": "ACTIVE" if port is not None else "DOWN",
        "description": row.description,
        "tenant_id": row.project_id,
        "project_id": row.project_id,
        "dns_domain": "",
        "dns_name": "",
        "revision_number": 1,
        "tags": [],
        "created_at": seconds(row.created_at),
        "updated_at": seconds(row.updated_at),
    }
