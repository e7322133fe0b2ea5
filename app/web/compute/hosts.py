"""Hosts as operators saw them until 2.42: by service, with their resources by project."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from sqlalchemy.orm import Session

from app.errors import Invalid, NotFound
from app.models import Host
from app.store import hosts, hosts_admin
from app.store.database import reading, transaction
from app.store.hosts_admin import Taken
from app.web.answers import answer
from app.web.api import Route, documented
from app.web.body import body
from app.web.compute import resource_schemas as schemas
from app.web.compute.services import control_services
from app.web.compute.versions import ns
from app.web.microversions import before
from app.web.shapes import operating as shapes

GONE = (2, 43)
_RULE = "os_compute_api:os-hosts:"


@ns.route("/v2.1/os-hosts")
class Hosts(Route):
    shows = {"get": shapes.HOSTS}
    versions = before(GONE, "get")
    policy = {"get": f"{_RULE}list"}

    @ns.doc(params={"zone": "only those of this availability zone"})
    def get(self) -> Response:
        """List every service's host."""
        with reading() as session:
            found = [(one.name, "compute", one.zone) for one in hosts.all_hosts(session)]
        found += [
            (one.host, one.binary.removeprefix("nova-"), one.zone) for one in control_services()
        ]
        wanted = request.args.get("zone")
        shown = [
            {"host_name": name, "service": service, "zone": zone}
            for name, service, zone in found
            if not wanted or zone == wanted
        ]
        return answer({"hosts": shown})


@ns.route("/v2.1/os-hosts/<host_name>")
class OneHost(Route):
    shows = {"get": shapes.ONE_HOST, "put": shapes.HOST_CHANGED}
    versions = before(GONE, "get", "put")
    policy = {"get": f"{_RULE}show", "put": f"{_RULE}update"}
    answers = {"put": (200, 501)}

    def get(self, host_name: str) -> Response:
        """Show what a host has, what is used of it, and by which projects."""
        with reading() as session:
            host = _find(session, host_name)
            taken = hosts_admin.taken_by_project(session, host_name)
        total = Taken("(total)", host.vcpus, host.ram_mb, host.disk_gb)
        used = Taken(
            "(used_now)",
            host.used_vcpus,
            host.reserved_ram_mb + host.used_ram_mb,
            host.used_disk_gb,
        )
        most = Taken(
            "(used_max)",
            sum(one.vcpus for one in taken),
            sum(one.ram_mb for one in taken),
            sum(one.disk_gb for one in taken),
        )
        return answer({"host": [_resource(host_name, one) for one in (total, used, most, *taken)]})

    @documented(ns, schemas.HOST_CHANGE)
    def put(self, host_name: str) -> Response:
        """Enable or disable a host."""
        wanted = body(schemas.HOST_CHANGE)
        with transaction() as session:
            _find(session, host_name)
            if "maintenance_mode" in wanted:
                raise _unsupported("Maintenance mode")
            enabled = wanted["status"].lower() == "enable"
            hosts_admin.change(session, host_name, {"enabled": enabled, "disabled_reason": None})
        return answer({"host": host_name, "status": "enabled" if enabled else "disabled"})


@ns.route("/v2.1/os-hosts/<host_name>/startup")
class HostStartup(Route):
    versions = before(GONE, "get")
    policy = {"get": f"{_RULE}start"}
    answers = {"get": (501,)}

    def get(self, host_name: str) -> Response:
        """Switch a host on: 501, for nobody here can."""
        return _power(host_name)


@ns.route("/v2.1/os-hosts/<host_name>/shutdown")
class HostShutdown(Route):
    versions = before(GONE, "get")
    policy = {"get": f"{_RULE}shutdown"}
    answers = {"get": (501,)}

    def get(self, host_name: str) -> Response:
        """Switch a host off: 501, for nobody here may."""
        return _power(host_name)


@ns.route("/v2.1/os-hosts/<host_name>/reboot")
class HostReboot(Route):
    versions = before(GONE, "get")
    policy = {"get": f"{_RULE}reboot"}
    answers = {"get": (501,)}

    def get(self, host_name: str) -> Response:
        """Reboot a host: 501, for nobody here may."""
        return _power(host_name)


def _power(host_name: str) -> Response:
    with reading() as session:
        _find(session, host_name)
    raise _unsupported("Switching a host's power")


def _unsupported(what: str) -> Invalid:
    return Invalid(f"{what} is not supported by the hypervisors here.", code="not_implemented")


def _find(session: Session, name: str) -> Host:
    host = hosts.get(session, name)
    if host is None:
        raise NotFound(f"Compute host {name} could not be found.")
    return host


def _resource(host_name: str, taken: Taken) -> dict[str, Any]:
    return {
        "resource": {
            "host": host_name,
            "project": taken.project_id,
            "cpu": taken.vcpus,
            "memory_mb": taken.ram_mb,
            "disk_gb": taken.disk_gb,
        }
    }
