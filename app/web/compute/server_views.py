"""Servers as clients see them, per microversion."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

from app.domain import states
from app.models import Server
from app.store.server_listing import Extras, Nic
from app.web.compute.views import Audience, bookmark, links
from app.web.times import micros, seconds

_WITH_PROGRESS = frozenset(
    {"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING", "REBOOT", "HARD_REBOOT"}
)
_WITH_FAULT = frozenset({"ERROR", "DELETED"})


def created(server_id: str, admin_pass: str, to: Audience) -> dict[str, Any]:
    """The answer to a create."""
    return {
        "server": {
            "id": server_id,
            "links": links(to.base, "servers", server_id),
            "OS-DCF:diskConfig": "MANUAL",
            "security_groups": [{"name": "default"}],
            "adminPass": admin_pass,
        }
    }


def short(server: Server, to: Audience) -> dict[str, Any]:
    """A server in a plain list."""
    return {"id": server.id, "name": server.name, "links": links(to.base, "servers", server.id)}


def whole(
    server: Server, extras: Extras, progress: Mapping[str, int], to: Audience
) -> dict[str, Any]:
    """A server with all that this microversion shows to this caller."""
    status = states.status(server.vm_state, server.task_state)
    shown: dict[str, Any] = {
        "id": server.id,
        "name": server.name,
        "status": status,
        "tenant_id": server.project_id,
        "user_id": server.user_id,
        "metadata": server.meta,
        "hostId": host_id(server.project_id, server.host),
        "image": _image(server, to),
        "flavor": {"id": server.flavor_id, "links": bookmark(to.base, "flavors", server.flavor_id)},
        "created": seconds(server.created_at),
        "updated": seconds(server.updated_at),
        "addresses": _addresses(extras.nics.get(server.id, [])),
        "accessIPv4": server.access_ipv4 or "",
        "accessIPv6": server.access_ipv6 or "",
        "links": links(to.base, "servers", server.id),
        "OS-DCF:diskConfig": "MANUAL",
        "OS-EXT-AZ:availability_zone": _zone(server, extras),
        "config_drive": "True" if server.config_drive else "",
        "key_name": server.key_name,
        "OS-SRV-USG:launched_at": micros(server.launched_at),
        "OS-SRV-USG:terminated_at": micros(server.terminated_at),
        "OS-EXT-STS:task_state": server.task_state,
        "OS-EXT-STS:vm_state": server.vm_state,
        "OS-EXT-STS:power_state": server.power_state,
        "os-extended-volumes:volumes_attached": [],
    }
    if status in _WITH_PROGRESS:
        shown["progress"] = progress.get(server.id, 0)
    if status in _WITH_FAULT and server.fault:
        shown["fault"] = _fault(server, to)
    if to.is_admin:
        shown.update(_for_admins(server, extras, to))
    shown.update(_newer(server, to))
    return shown


@functools.lru_cache(maxsize=4096)
def host_id(project_id: str, host: str | None) -> str:
    """A host's alias for one project: tells hosts apart without naming them."""
    return hashlib.sha224(f"{project_id}{host}".encode()).hexdigest() if host else ""


def _image(server: Server, to: Audience) -> Any:
    if server.image_id is None:
        return ""
    return {"id": server.image_id, "links": bookmark(to.base, "images", server.image_id)}


def _zone(server: Server, extras: Extras) -> str:
    host = extras.hosts.get(server.host or "")
    return host.zone if host else server.availability_zone or ""


def _addresses(nics: list[Nic]) -> dict[str, list[dict[str, Any]]]:
    shown: dict[str, list[dict[str, Any]]] = {}
    for nic in nics:
        shown.setdefault(nic.network_name, []).append(
            {
                "addr": nic.address,
                "version": 6 if ":" in nic.address else 4,
                "OS-EXT-IPS:type": "fixed",
                "OS-EXT-IPS-MAC:mac_addr": nic.mac,
            }
        )
    return shown


def _fault(server: Server, to: Audience) -> dict[str, Any]:
    fault = server.fault or {}
    shown = {
        "code": 500,
        "message": fault.get("message", ""),
        "created": seconds(server.updated_at),
    }
    if to.is_admin and fault.get("details"):
        shown["details"] = fault["details"]
    return shown


def _for_admins(server: Server, extras: Extras, to: Audience) -> dict[str, Any]:
    host = extras.hosts.get(server.host or "")
    shown: dict[str, Any] = {
        "OS-EXT-SRV-ATTR:host": server.host,
        "OS-EXT-SRV-ATTR:hypervisor_hostname": host.hostname if host else None,
        "OS-EXT-SRV-ATTR:instance_name": f"novella-{extras.cloud_id[:8]}-{server.id}",
    }
    if to.version >= (2, 3):
        shown |= {
            "OS-EXT-SRV-ATTR:hostname": server.hostname,
            "OS-EXT-SRV-ATTR:reservation_id": server.reservation_id,
            "OS-EXT-SRV-ATTR:launch_index": server.launch_index,
            "OS-EXT-SRV-ATTR:kernel_id": "",
            "OS-EXT-SRV-ATTR:ramdisk_id": "",
            "OS-EXT-SRV-ATTR:root_device_name": "/dev/vda",
            "OS-EXT-SRV-ATTR:user_data": server.user_data,
        }
    if to.version >= (2, 16):
        shown["host_status"] = _host_status(server, extras)
    return shown


def _host_status(server: Server, extras: Extras) -> str:
    if server.host is None:
        return ""
    host = extras.hosts.get(server.host)
    if host is None:
        return "UNKNOWN"
    if host.state == "down":
        return "DOWN"
    return "UP" if host.enabled else "MAINTENANCE"


def _newer(server: Server, to: Audience) -> dict[str, Any]:
    shown: dict[str, Any] = {}
    if to.version >= (2, 9):
        shown["locked"] = server.locked is not None
    if to.version >= (2, 19):
        shown["description"] = server.description
    return shown


def plain_addresses(nics: list[Nic]) -> dict[str, list[dict[str, Any]]]:
    """Addresses by network, as `/ips` shows them."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for nic in nics:
        address = {"addr": nic.address, "version": 6 if ":" in nic.address else 4}
        shown.setdefault(nic.network_name, []).append(address)
    return shown
