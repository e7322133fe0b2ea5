"""Availability zones."""

from __future__ import annotations

from typing import Any

from flask import Response

from app.models import Host
from app.store import hosts, server_listing
from app.store.database import reading
from app.web.answers import answer
from app.web.api import Route
from app.web.compute.services import control_services, is_up
from app.web.compute.versions import ns
from app.web.shapes import operating as shapes
from app.web.times import micros


@ns.route("/v2.1/os-availability-zone")
class Zones(Route):
    shows = {"get": shapes.ZONES}
    policy = {"get": "os_compute_api:os-availability-zone:list"}

    def get(self) -> Response:
        """List the availability zones."""
        return answer({"availabilityZoneInfo": [_zone(*one) for one in _zones()]})


@ns.route("/v2.1/os-availability-zone/detail")
class ZonesDetail(Route):
    shows = {"get": shapes.ZONES_DETAIL}
    policy = {"get": "os_compute_api:os-availability-zone:detail"}

    def get(self) -> Response:
        """List the availability zones with their hosts; for administrators."""
        shown = [
            {**_zone(name, members), "hosts": {host.name: _services(host) for host in members}}
            for name, members in _zones()
        ]
        return answer({"availabilityZoneInfo": [*_internal(), *shown]})


def _zones() -> list[tuple[str, list[Host]]]:
    with reading() as session:
        # The default zone is there even before the first host is.
        return sorted(({"nova": []} | server_listing.zones(session)).items())


def _zone(name: str, members: list[Host]) -> dict[str, Any]:
    available = not members or any(hosts.usable(host) for host in members)
    return {"zoneName": name, "zoneState": {"available": available}, "hosts": None}


def _internal() -> list[dict[str, Any]]:
    """The zone of the scheduler workers, if any is known to live."""
    members: dict[str, dict[str, Any]] = {}
    for one in control_services():
        active = {"available": True, "active": True, "updated_at": micros(one.updated_at)}
        members.setdefault(one.host, {})[one.binary] = active
    if not members:
        return []
    return [{"zoneName": "internal", "zoneState": {"available": True}, "hosts": members}]


def _services(host: Host) -> dict[str, Any]:
    return {
        "nova-compute": {
            "available": is_up(host),
            "active": host.enabled,
            "updated_at": micros(host.last_seen),
        }
    }
