"""Networks, subnets and ports as clients see them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from app.domain.caller import Caller
from app.models import Network, Port, Subnet
from app.web.times import seconds


def network(row: Network, subnets: Iterable[str]) -> dict[str, Any]:
    """A network."""
    return {
        "id": row.id,
        "name": row.name,
        "description": row.description,
        "tenant_id": row.project_id,
        "project_id": row.project_id,
        "status": "ACTIVE" if row.admin_state_up else "DOWN",
        "admin_state_up": row.admin_state_up,
        "shared": row.shared,
        "is_default": row.is_default,
        "router:external": False,
        "mtu": row.mtu,
        "subnets": list(subnets),
        "port_security_enabled": False,
        "availability_zone_hints": [],
        "availability_zones": ["nova"],
        "ipv4_address_scope": None,
        "ipv6_address_scope": None,
        "revision_number": 1,
        "tags": [],
        "created_at": seconds(row.created_at),
        "updated_at": seconds(row.updated_at),
    }


def subnet(row: Subnet) -> dict[str, Any]:
    """A subnet."""
    return {
        "id": row.id,
        "name": row.name,
        "description": "",
        "network_id": row.network_id,
        "tenant_id": row.project_id,
        "project_id": row.project_id,
        "ip_version": 4,
        "cidr": row.cidr,
        "gateway_ip": row.gateway_ip,
        "allocation_pools": [{"start": row.pool_start, "end": row.pool_end}],
        "dns_nameservers": row.dns,
        "host_routes": [],
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
    row: Port, facts: Mapping[str, tuple[str | None, str, str]], caller: Caller
) -> dict[str, Any]:
    """A port. `facts` has its server's host, vm_state and zone; hosts are for administrators."""
    host, vm_state, zone = facts.get(row.id, (None, "", ""))
    shown: dict[str, Any] = {
        "id": row.id,
        "name": row.name,
        "description": "",
        "network_id": row.network_id,
        "tenant_id": row.project_id,
        "project_id": row.project_id,
        "mac_address": row.mac,
        "fixed_ips": [{"subnet_id": row.subnet_id, "ip_address": row.address}],
        "device_id": row.server_id or "",
        "device_owner": f"compute:{zone}" if row.server_id else "",
        "status": "ACTIVE" if vm_state == "active" else "DOWN",
        "admin_state_up": True,
        "port_security_enabled": False,
        "security_groups": [],
        "allowed_address_pairs": [],
        "extra_dhcp_opts": [],
        "binding:vnic_type": "normal",
        "revision_number": 1,
        "tags": [],
        "created_at": seconds(row.created_at),
        "updated_at": seconds(row.updated_at),
    }
    if caller.is_admin:
        shown["binding:host_id"] = host or ""
        shown["binding:vif_type"] = "bridge" if host else "unbound"
    return shown
