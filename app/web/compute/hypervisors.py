"""Hypervisors: the hosts as machines. Their ids are numbers below 2.53, UUIDs from then on."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence
from typing import Any

import orjson
from flask import Response, request
from sqlalchemy.orm import Session

from app.errors import Invalid, NotFound, Refused
from app.models import Host
from app.store import hosts_admin
from app.store.database import reading
from app.store.hosts_admin import Standing
from app.store.paging import Page
from app.web import context, query
from app.web.answers import answer
from app.web.api import Route
from app.web.compute import services, views
from app.web.compute.ranges import known_parameters
from app.web.compute.versions import ns
from app.web.microversions import before
from app.web.shapes import compute as shapes

BY_UUID, PAGED, WITHOUT_CAPACITY = (2, 53), (2, 33), (2, 88)
_PARAMS = {
    "limit": "from 2.33: at most 1000",
    "marker": "from 2.33: the last id of the page before",
    "hypervisor_hostname_pattern": "from 2.53: a part of the name",
    "with_servers": "from 2.53: true shows the servers of each",
}
_SUMMED = (
    "vcpus",
    "memory_mb",
    "local_gb",
    "vcpus_used",
    "memory_mb_used",
    "local_gb_used",
    "free_ram_mb",
    "free_disk_gb",
    "current_workload",
    "running_vms",
)


def _id(host: Host) -> str | int:
    return host.uuid if context.version() >= BY_UUID else host.number


def _short(host: Host) -> dict[str, Any]:
    return {
        "id": _id(host),
        "hypervisor_hostname": host.hostname or host.name,
        "state": "up" if services.is_up(host) else "down",
        "status": "enabled" if host.enabled else "disabled",
    }


def _capacity(standing: Standing) -> dict[str, int]:
    """What the host has and what is claimed of it; the reserve counts as used."""
    host = standing.host
    used_mb = host.reserved_ram_mb + host.used_ram_mb
    return {
        "vcpus": host.vcpus,
        "memory_mb": host.ram_mb,
        "local_gb": host.disk_gb,
        "vcpus_used": host.used_vcpus,
        "memory_mb_used": used_mb,
        "local_gb_used": host.used_disk_gb,
        "free_ram_mb": host.ram_mb - used_mb,
        "free_disk_gb": host.disk_gb - host.used_disk_gb,
        "current_workload": standing.workload,
        "running_vms": standing.servers,
    }


def _whole(standing: Standing) -> dict[str, Any]:
    host, version = standing.host, context.version()
    shown = {
        **_short(host),
        "hypervisor_type": host.hypervisor_type,
        "hypervisor_version": host.hypervisor_version,
        "host_ip": host.address,
        "service": {"id": _id(host), "host": host.name, "disabled_reason": host.disabled_reason},
    }
    if version >= WITHOUT_CAPACITY:
        return {**shown, "uptime": _uptime(host) if services.is_up(host) else None}
    cpu: dict[str, Any] = {"model": host.cpu_model}
    return {
        **shown,
        **_capacity(standing),
        "cpu_info": cpu if version >= (2, 28) else orjson.dumps(cpu).decode(),
        "disk_available_least": None,  # what images really take is not known here
    }


def _uptime(host: Host) -> str | None:
    """In the manner of uptime(1), as far as is known: the time, and for how long it has run."""
    if host.booted_at is None:
        return None
    minutes = int(max(time.time() - host.booted_at, 0)) // 60
    days, hours, left = minutes // 1440, minutes // 60 % 24, minutes % 60
    since = f"{days} day{'' if days == 1 else 's'}, " if days else ""
    return f" {time.strftime('%H:%M:%S', time.gmtime())} up {since}{hours:2d}:{left:02d}"


def _with_servers(session: Session, shown: list[dict[str, Any]], found: Sequence[Standing]) -> None:
    """Add the servers of each; before 2.75 none is no key."""
    names = [standing.host.name for standing in found]
    there = hosts_admin.servers_on(session, names)
    for document, name in zip(shown, names, strict=True):
        if name in there or context.version() >= (2, 75):
            document["servers"] = [
                {"uuid": server_id, "name": server} for server_id, server in there.get(name, [])
            ]


def _listing(whole: bool) -> Response:
    version = context.version()
    known_parameters(*(_PARAMS if version >= BY_UUID else ("limit", "marker")), since=PAGED)
    like = request.args.get("hypervisor_hostname_pattern") if version >= BY_UUID else None
    if like is not None and {"limit", "marker"} & set(request.args):
        raise Invalid(
            "Paging over hypervisors with the hypervisor_hostname_pattern query parameter is not "
            "supported."
        )
    page = Page(query.limit(), request.args.get("marker")) if version >= PAGED else None
    with reading() as session:
        found = hosts_admin.standings(session, page=page, by_number=version < BY_UUID, like=like)
        if like is not None and not found:
            raise _no_match(like)
        shown = [_whole(one) if whole else _short(one.host) for one in found]
        if version >= BY_UUID and query.flag("with_servers"):
            _with_servers(session, shown, found)
    listed: dict[str, Any] = {"hypervisors": shown}
    if page is not None and found and len(found) == page.limit:
        listed["hypervisors_links"] = views.next_link(str(shown[-1]["id"]), page.limit)
    return answer(listed)


def _no_match(text: str) -> NotFound:
    return NotFound(f"No hypervisor matching '{text}' could be found.")


def _find(session: Session, text: str) -> Host:
    """Raises Invalid for what is no UUID where one is needed, and NotFound."""
    missing = NotFound(f"Hypervisor with ID '{text}' could not be found.")
    try:
        if context.version() >= BY_UUID:
            return hosts_admin.find(session, uuid=str(uuid.UUID(text)))
        if text.isascii() and text.isdigit() and len(text) < 10:
            return hosts_admin.find(session, number=int(text))
    except ValueError as error:
        raise Invalid(f"Invalid uuid {text}: the id of a hypervisor is one from 2.53") from error
    except NotFound as error:
        raise missing from error
    raise missing


@ns.route("/v2.1/os-hypervisors")
class Hypervisors(Route):
    shows = {"get": shapes.HYPERVISORS}
    policy = {"get": "os_compute_api:os-hypervisors:list"}

    @ns.doc(params=_PARAMS)
    def get(self) -> Response:
        """List hypervisors."""
        return _listing(whole=False)


@ns.route("/v2.1/os-hypervisors/detail")
class HypervisorsDetail(Route):
    shows = {"get": shapes.hypervisors(_SUMMED)}
    policy = {"get": "os_compute_api:os-hypervisors:list-detail"}

    @ns.doc(params=_PARAMS)
    def get(self) -> Response:
        """List hypervisors with all they have."""
        return _listing(whole=True)


@ns.route("/v2.1/os-hypervisors/statistics")
class HypervisorStatistics(Route):
    shows = {"get": shapes.statistics(_SUMMED)}
    versions = before(WITHOUT_CAPACITY, "get")
    policy = {"get": "os_compute_api:os-hypervisors:statistics"}

    def get(self) -> Response:
        """Sum up the enabled hypervisors."""
        with reading() as session:
            found = [one for one in hosts_admin.standings(session) if one.host.enabled]
        each = [_capacity(one) for one in found]
        sums: dict[str, int] = {name: sum(one[name] for one in each) for name in _SUMMED}
        sums |= {"count": len(found), "disk_available_least": 0}
        return answer({"hypervisor_statistics": sums})


@ns.route("/v2.1/os-hypervisors/<hypervisor_id>")
class OneHypervisor(Route):
    shows = {"get": shapes.hypervisor(_SUMMED)}
    policy = {"get": "os_compute_api:os-hypervisors:show"}

    @ns.doc(params={"with_servers": _PARAMS["with_servers"]})
    def get(self, hypervisor_id: str) -> Response:
        """Show a hypervisor."""
        version = context.version()
        if version >= BY_UUID:
            known_parameters("with_servers", since=BY_UUID)
        with reading() as session:
            host = _find(session, hypervisor_id)
            found = hosts_admin.standings(session, host=host)
            shown = [_whole(one) for one in found]
            if version >= BY_UUID and query.flag("with_servers"):
                _with_servers(session, shown, found)
        if not shown:  # forgotten between the two looks
            raise NotFound(f"Hypervisor with ID '{hypervisor_id}' could not be found.")
        return answer({"hypervisor": shown[0]})


@ns.route("/v2.1/os-hypervisors/<hypervisor_id>/uptime")
class HypervisorUptime(Route):
    shows = {"get": shapes.UPTIME}
    versions = before(WITHOUT_CAPACITY, "get")
    policy = {"get": "os_compute_api:os-hypervisors:uptime"}
    answers = {"get": (200, 501)}

    def get(self, hypervisor_id: str) -> Response:
        """Show for how long a hypervisor has run."""
        with reading() as session:
            host = _find(session, hypervisor_id)
        uptime = _uptime(host)
        if not services.is_up(host):
            raise Invalid(f"Compute service of {host.name} is unavailable at this time.")
        if uptime is None:
            raise Refused("the host does not tell its uptime", code="not_implemented")
        return answer({"hypervisor": {**_short(host), "uptime": uptime}})


@ns.route("/v2.1/os-hypervisors/<pattern>/search")
class HypervisorSearch(Route):
    shows = {"get": shapes.HYPERVISORS_FOUND}
    versions = before(BY_UUID, "get")
    policy = {"get": "os_compute_api:os-hypervisors:search"}

    def get(self, pattern: str) -> Response:
        """List the hypervisors whose name contains the pattern."""
        with reading() as session:
            found = hosts_admin.standings(session, like=pattern)
        if not found:
            raise _no_match(pattern)
        return answer({"hypervisors": [_short(one.host) for one in found]})


@ns.route("/v2.1/os-hypervisors/<pattern>/servers")
class HypervisorServers(Route):
    shows = {"get": shapes.HYPERVISORS_FOUND}
    versions = before(BY_UUID, "get")
    policy = {"get": "os_compute_api:os-hypervisors:servers"}

    def get(self, pattern: str) -> Response:
        """List the servers on the hypervisors whose name contains the pattern."""
        with reading() as session:
            found = hosts_admin.standings(session, like=pattern)
            if not found:
                raise _no_match(pattern)
            shown = [_short(one.host) for one in found]
            _with_servers(session, shown, found)
        return answer({"hypervisors": shown})
