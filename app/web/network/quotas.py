"""Quotas of networks, to read: only addresses limit ports, and the rest is not made here."""

from __future__ import annotations

from flask import Response

from app.errors import NotFound
from app.store import database, identity, networks
from app.web import context, policy
from app.web.answers import answer
from app.web.api import Route
from app.web.network.resources import Item, reading
from app.web.network.versions import ns

_UNLIMITED = ("network", "subnet", "port")
_ABSENT = (
    "router",
    "floatingip",
    "security_group",
    "security_group_rule",
    "subnetpool",
    "rbac_policy",
)
LIMITS = {**dict.fromkeys(_UNLIMITED, -1), **dict.fromkeys(_ABSENT, 0)}
"""-1 is without limit; there is nothing of what has the limit 0."""


def _known(project_id: str) -> str:
    """The project, for its own people and administrators, else NotFound."""
    if policy.allows("get_quota", project_id=project_id):
        if project_id == context.caller().project_id:
            return project_id
        with database.reading() as session:
            if identity.find_project(session, identity.Ref(id=project_id)) is not None:
                return project_id
    raise NotFound(f"Project {project_id} could not be found.")


@ns.route("/v2.0/quotas")
class Quotas(Route):
    policy = {"get": "get_quotas"}

    def get(self) -> Response:
        """List the projects that have limits of their own: none."""
        return answer({"quotas": []})


@ns.route("/v2.0/quotas/<project_id>", "/v2.0/quotas/<project_id>/default")
class Quota(Item):
    policy = reading(policy.INSIDE)

    def get(self, project_id: str) -> Response:
        """Show a project's limits, which are everybody's."""
        _known(project_id)
        return answer({"quota": {**LIMITS, "project_id": project_id, "tenant_id": project_id}})


@ns.route("/v2.0/quotas/<project_id>/details")
class QuotaDetails(Item):
    policy = reading(policy.INSIDE)

    def get(self, project_id: str) -> Response:
        """Show a project's limits, and what it uses."""
        _known(project_id)
        with database.reading() as session:
            used = networks.in_use(session, project_id)
        shown = {
            name: {"limit": limit, "used": used.get(name, 0), "reserved": 0}
            for name, limit in LIMITS.items()
        }
        return answer({"quota": shown})
