"""Servers as clients see them, per microversion."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable, Mapping
from typing import Any

from app.domain import states
from app.models import Server
from app.store.server_listing import Extras, Nic
from app.web.compute import views
from app.web.compute.views import Audience, bookmark, links
from app.web.times import micros, seconds

ATTRIBUTES = "os_compute_api:os-extended-server-attributes"
HOST_STATUS = "os_compute_api:servers:show:host_status"
UNKNOWN_HOST = f"{HOST_STATUS}:unknown-only"
EXTRA_SPECS = "os_compute_api:servers:show:flavor-extra-specs"
ASKS = (ATTRIBUTES, HOST_STATUS, UNKNOWN_HOST, EXTRA_SPECS)
"""The rules that show more of a server."""
_WITH_PROGRESS = frozenset(
    {"ACTIVE", "BUILD", "REBUILD", "RESIZE", "VERIFY_RESIZE", "MIGRATING", "REBOOT", "HARD_REBOOT"}
)
_WITH_FAULT = frozenset({"ERROR", "DELETED"})


def audience() -> Audience:
    """This request's, for whole servers."""
    return views.audience(ASKS)


def created(
    server_id: str,
    disk_config: str,
    admin_pass: str,
    groups: Iterable[str],
    to: Audience,
) -> dict[str, Any]:
    """The answer to a create."""
    return {
        "server": {
            "id": server_id,
            "links": links(to.base, "servers", server_id),
            "OS-DCF:diskConfig": disk_config,
            "security_groups": [{"name": name} for name in groups],
            "adminPass": admin_pass,
        }
    }


def short(server: Server, to: Audience) -> dict[str, Any]:
    """A server in a plain list."""
    return {"id": server.id, "name": server.name, "links": links(to.base, "servers", server.id)}


def single(
    server: Server, extras: Extras, progress: Mapping[str, int], to: Audience
) -> dict[str, Any]:
    """A server on its own: from 2.71 with its groups."""
    return whole(server, extras, progress, to) | _groups(server, extras, to)


def changed(
    server: Server, extras: Extras, progress: Mapping[str, int], to: Audience
) -> dict[str, Any]:
    """A server as the answer to its change: before 2.75 with less than a server that is shown."""
    if to.version >= (2, 75):
        return single(server, extras, progress, to)
    shown = _core(server, progress, to)
    shown["addresses"] = plain_addresses(extras.nics.get(server.id, []))
    _add_newer(shown, server, extras, to)
    return shown | _groups(server, extras, to)


def rebuilt(
    server: Server, extras: Extras, progress: Mapping[str, int], password: str, to: Audience
) -> dict[str, Any]:
    """A server as the answer to its rebuild."""
    shown = changed(server, extras, progress, to) | {"adminPass": password}
    if to.version >= (2, 54):
        shown["key_name"] = server.key_name
    if to.version >= (2, 57):
        shown["user_data"] = server.user_data
        shown.pop("OS-EXT-SRV-ATTR:user_data", None)  # the same, and not twice
    return shown


def whole(
    server: Server, extras: Extras, progress: Mapping[str, int], to: Audience
) -> dict[str, Any]:
    """A server with all that a list of this microversion shows to this caller."""
    nics = extras.nics.get(server.id, [])
    shown = _core(server, progress, to)
    shown |= {
        "addresses": _addresses(nics),
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
    if groups := extras.security_groups.get(server.id):
        shown["security_groups"] = [{"name": name} for name in groups]
    if ATTRIBUTES in to.sees:
        shown.update(_attributes(server, extras, to))
    if to.version >= (2, 16) and (HOST_STATUS in to.sees or UNKNOWN_HOST in to.sees):
        shown.update(_host_status(server, extras, to))
    if to.version >= (2, 90):
        shown["OS-EXT-SRV-ATTR:hostname"] = server.hostname
    _add_newer(shown, server, extras, to)
    return shown


def _core(server: Server, progress: Mapping[str, int], to: Audience) -> dict[str, Any]:
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
        "flavor": _flavor(server, to),
        "created": seconds(server.created_at),
        "updated": seconds(server.updated_at),
        "accessIPv4": server.access_ipv4 or "",
        "accessIPv6": server.access_ipv6 or "",
        "links": links(to.base, "servers", server.id),
        "OS-DCF:diskConfig": server.disk_config,
    }
    if status in _WITH_PROGRESS:
        shown["progress"] = progress.get(server.id, 0)
    if status in _WITH_FAULT and server.fault:
        shown["fault"] = _fault(server, to)
    return shown


@functools.lru_cache(maxsize=4096)
def host_id(project_id: str, host: str | None) -> str:
    """A host's alias for one project: tells hosts apart without naming them."""
    return hashlib.sha224(f"{project_id}{host}".encode()).hexdigest() if host else ""


def _image(server: Server, to: Audience) -> Any:
    if server.image_id is None:
        return ""
    shown: dict[str, Any] = {"id": server.image_id}
    shown["links"] = bookmark(to.base, "images", server.image_id)
    if to.version >= (2, 98):
        shown["properties"] = server.image_properties
    return shown


def _flavor(server: Server, to: Audience) -> dict[str, Any]:
    """A link, or from 2.47 the server's own copy of what the flavor was."""
    if to.version < (2, 47):
        return {"id": server.flavor_id, "links": bookmark(to.base, "flavors", server.flavor_id)}
    shown = {
        "original_name": server.flavor_name,
        "vcpus": server.vcpus,
        "ram": server.ram_mb,
        "disk": server.disk_gb,
        "ephemeral": server.ephemeral_gb,
        "swap": server.swap_mb,
    }
    if EXTRA_SPECS in to.sees:
        shown["extra_specs"] = server.extra_specs
    return shown


def _zone(server: Server, extras: Extras) -> str:
    host = extras.hosts.get(server.host or "")
    return host.zone if host else server.availability_zone or ""


def _addresses(nics: list[Nic]) -> dict[str, list[dict[str, Any]]]:
    shown: dict[str, list[dict[str, Any]]] = {}
    for nic in nics:
        shown.setdefault(nic.network_name, []).extend(
            {**_address(one), "OS-EXT-IPS:type": kind, "OS-EXT-IPS-MAC:mac_addr": nic.mac}
            for one, kind in ((nic.address, "fixed"), *((f, "floating") for f in nic.floating))
        )
    return shown


def _address(address: str) -> dict[str, Any]:
    return {"addr": address, "version": 6 if ":" in address else 4}


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


def _attributes(server: Server, extras: Extras, to: Audience) -> dict[str, Any]:
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
    return shown


def _host_status(server: Server, extras: Extras, to: Audience) -> dict[str, str]:
    """What its host is doing, or only that nobody knows, as far as the reader may see it."""
    status = _status_of_host(server, extras)
    return {"host_status": status} if HOST_STATUS in to.sees or status == "UNKNOWN" else {}


def _status_of_host(server: Server, extras: Extras) -> str:
    if server.host is None:
        return ""
    host = extras.hosts.get(server.host)
    if host is None:
        return "UNKNOWN"
    if host.state == "down":
        return "DOWN"
    return "UP" if host.enabled else "MAINTENANCE"


def _add_newer(shown: dict[str, Any], server: Server, extras: Extras, to: Audience) -> None:
    """Put to what is shown what single microversions have added."""
    if to.version >= (2, 9):
        shown["locked"] = server.locked is not None
    if to.version >= (2, 19):
        shown["description"] = server.description
    if to.version >= (2, 26):
        shown["tags"] = extras.tags.get(server.id, [])
    if to.version >= (2, 63):
        shown["trusted_image_certificates"] = None
    if to.version >= (2, 73):
        shown["locked_reason"] = server.locked_reason
    if to.version >= (2, 96):
        shown["pinned_availability_zone"] = server.availability_zone
    if to.version >= (2, 100):
        shown["scheduler_hints"] = server.scheduler_hints


def _groups(server: Server, extras: Extras, to: Audience) -> dict[str, Any]:
    if to.version < (2, 71):
        return {}
    group = extras.groups.get(server.id)
    return {"server_groups": [] if group is None else [group]}


def plain_addresses(nics: list[Nic]) -> dict[str, list[dict[str, Any]]]:
    """Addresses by network, as `/ips` shows them."""
    shown: dict[str, list[dict[str, Any]]] = {}
    for nic in nics:
        both = [_address(one) for one in (nic.address, *nic.floating)]
        shown.setdefault(nic.network_name, []).extend(both)
    return shown
