"""Quotas of networks and the like."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from app.errors import NotFound
from app.store import database, identity, network_quotas
from app.web import context, policy, query
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.keystone import meeting
from app.web.network import schemas
from app.web.network.versions import ns
from app.web.shapes import network as shapes
from app.web.shapes.parts import NOTHING


def _known(project_id: str, rule: str = "get_quota") -> str:
    """The project, for its own people and administrators, else NotFound."""
    if policy.allows(rule, project_id=project_id):
        if project_id == context.caller().project_id:
            return project_id
        meeting.project(project_id)
        with database.reading() as session:
            if identity.find_project(session, identity.Ref(id=project_id)) is not None:
                return project_id
    raise NotFound(f"Project {project_id} could not be found.")


def _shown(project_id: str, limits: dict[str, int]) -> Response:
    return answer({"quota": {**limits, "project_id": project_id, "tenant_id": project_id}})


@ns.route("/v2.0/quotas")
class Quotas(Route):
    shows = {"get": shapes.QUOTAS}
    policy = {"get": "get_quotas"}

    @ns.doc(params={"limit": "at most so many", "marker": "the last project's id before"})
    def get(self) -> Response:
        """List the projects that have limits of their own."""
        limit = query.limit()
        with database.reading() as session:
            found = network_quotas.page(session, limit, request.args.get("marker"))
        shown = [
            {**limits, "project_id": project, "tenant_id": project}
            for project, limits in found.items()
        ]
        made: dict[str, Any] = {"quotas": shown}
        if shown and len(shown) == limit:
            href = query.next_page(str(shown[-1]["project_id"]), limit)
            made["quotas_links"] = [{"rel": "next", "href": href}]
        return answer(made)


@ns.route("/v2.0/quotas/<project_id>")
class Quota(Route):
    shows = {"get": shapes.ONE_QUOTA, "put": shapes.ONE_QUOTA, "delete": NOTHING}
    policy = {"get": policy.INSIDE, "put": policy.INSIDE, "delete": policy.INSIDE}
    asks = {"get": ("get_quota",), "put": ("update_quota",), "delete": ("delete_quota",)}

    def get(self, project_id: str) -> Response:
        """Show a project's limits."""
        _known(project_id)
        with database.reading() as session:
            limits = network_quotas.limits(session, project_id)
        return _shown(project_id, limits)

    @documented(ns, schemas.QUOTA)
    def put(self, project_id: str) -> Response:
        """Give a project limits of its own."""
        policy.require("update_quota")
        _known(project_id, "update_quota")
        given = body(schemas.QUOTA)["quota"]
        wanted = {name: int(given[name]) for name in network_quotas.DEFAULTS if name in given}
        with database.transaction() as session:
            network_quotas.set_limits(session, project_id, wanted)
            limits = network_quotas.limits(session, project_id)
        return _shown(project_id, limits)

    def delete(self, project_id: str) -> Response:
        """Let the defaults hold for a project again."""
        policy.require("delete_quota")
        _known(project_id, "delete_quota")
        with database.transaction() as session:
            network_quotas.reset(session, project_id)
        return nothing()


@ns.route("/v2.0/quotas/<project_id>/default")
class DefaultQuota(Route):
    shows = {"get": shapes.ONE_QUOTA}
    policy = {"get": policy.INSIDE}
    asks = {"get": ("get_quota",)}

    def get(self, project_id: str) -> Response:
        """Show the limits that hold for a project without its own."""
        _known(project_id)
        return _shown(project_id, dict(network_quotas.DEFAULTS))


@ns.route("/v2.0/quotas/<project_id>/details")
class QuotaDetails(Route):
    shows = {"get": shapes.QUOTA_DETAILS}
    policy = {"get": policy.INSIDE}
    asks = {"get": ("get_quota",)}

    def get(self, project_id: str) -> Response:
        """Show a project's limits, and what it uses."""
        _known(project_id)
        with database.reading() as session:
            limits = network_quotas.limits(session, project_id)
            used = network_quotas.used(session, project_id)
        shown = {
            name: {"limit": limit, "used": used.get(name, 0), "reserved": 0}
            for name, limit in limits.items()
        }
        return answer({"quota": shown})
