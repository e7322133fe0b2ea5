"""`/v1/placement`, `/v1/capacity`: where a server goes and why, and how many more fit.

Who administers the cloud sees hosts; everybody else counts.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request
from flask_restx import Namespace

from app.domain.request_spec import RequestSpec
from app.domain.resources import Resources
from app.errors import Invalid, NotFound
from app.scheduler import capacity
from app.scheduler.select import Selection
from app.store import flavors, task_listing
from app.store.database import reading
from app.tasks.control import placing
from app.web import context, microversions
from app.web.answers import answer
from app.web.api import Route, documented
from app.web.body import body
from app.web.compute import new_server, schemas
from app.web.policy import allows
from app.web.shapes import v1 as shapes

ns = Namespace("placement", "Where servers go, and why", path="/v1")
_SEES_HOSTS = "novella:placement:show:hosts"
_HOSTS = ("host", "weights")


@ns.route("/tasks/<task_id>/placement")
class Placement(Route):
    shows = {"get": shapes.PLACEMENT}
    policy = {"get": "novella:tasks:placement"}
    asks = {"get": (_SEES_HOSTS,)}

    def get(self, task_id: str) -> Response:
        """Explain a task's last decision: hosts refused by each filter, the winner's weights.

        `placement` is null as long as none has been made.
        """
        with reading() as session:
            action = task_listing.get(session, context.caller(), task_id)
        found = action.placement
        if found is not None and not allows(_SEES_HOSTS):
            found = {name: value for name, value in found.items() if name not in _HOSTS}
        return answer({"placement": found})


@ns.route("/placement/dry-run")
class DryRun(Route):
    shows = {"post": shapes.DRY_RUN}
    policy = {"post": "novella:placement:dry_run"}
    asks = {"post": (_SEES_HOSTS, *new_server.ASKS)}
    keyless = "nothing is made"

    @documented(ns, schemas.server(microversions.MAX))
    def post(self) -> Response:
        """Answer where the servers of this body would go now, and why not elsewhere."""
        given = body(schemas.server(microversions.MAX))
        caller = context.caller()
        with reading() as session:
            wanted = new_server.parse(session, caller, given)
            spec = placing.spec_of_new(session, caller.project_id, wanted)
            table = placing.table_of(session)
        selection = placing.choose(table, spec, wanted.max_count)
        fits = len(selection.picks)
        told: dict[str, Any] = {
            "wanted": wanted.max_count,
            "fits": fits if fits >= wanted.min_count else 0,
            "hosts": selection.hosts,
            "refused": selection.refused,
            "message": selection.sentence() if fits < wanted.max_count else "all of them fit",
        }
        if allows(_SEES_HOSTS):
            told["picks"] = _picks(selection) if fits >= wanted.min_count else []
        return answer({"placement": told})


def _picks(selection: Selection) -> list[dict[str, Any]]:
    return [
        {"host": pick[0], "alternates": pick[1:], "weights": weights}
        for pick, weights in zip(selection.picks, selection.weights, strict=True)
    ]


@ns.route("/capacity")
class Capacity(Route):
    shows = {"get": shapes.CAPACITY}
    policy = {"get": "novella:capacity:show"}
    answers = {"get": (200, 404)}

    @ns.doc(params={"flavor": "its id", "availability_zone": "only this zone"})
    def get(self) -> Response:
        """How many more servers of a flavor fit, in all and by zone."""
        flavor_id, zone = request.args.get("flavor"), request.args.get("availability_zone")
        if not flavor_id:
            raise Invalid("Invalid input for query parameter flavor: is required")
        caller = context.caller()
        with reading() as session:
            flavor = flavors.get(session, caller, flavor_id)
            table = placing.table_of(session)
        resources = Resources(flavor.vcpus, flavor.ram_mb, flavor.disk_gb)
        spec = RequestSpec(
            resources,
            zone=zone,
            project_id=caller.project_id,
            flavor_name=flavor.name,
            extra_specs=flavor.extra_specs,
        )
        zones = capacity.by_zone(table, spec, placing.policy())
        if zone is not None and zone not in zones:
            raise NotFound(f"Availability zone {zone} could not be found.")
        shown = zones if zone is None else {zone: zones[zone]}
        told = {"flavor": flavor.id, "servers": sum(shown.values()), "zones": shown}
        return answer({"capacity": told})
