"""Which projects may use a flavor that is not public."""

from __future__ import annotations

from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.models import Flavor
from app.store import flavor_access, flavors, tenants
from app.store.database import reading
from app.web import context
from app.web.accepting import once
from app.web.answers import answer
from app.web.api import Route, documented
from app.web.body import body
from app.web.compute import resource_schemas as schemas
from app.web.compute.versions import ns
from app.web.keystone import meeting
from app.web.policy import INSIDE, require
from app.web.shapes import compute as shapes

_RULE = "os_compute_api:os-flavor-access"


def _shown(flavor: Flavor, projects: list[str]) -> dict[str, Any]:
    return {"flavor_access": [{"flavor_id": flavor.id, "tenant_id": one} for one in projects]}


@ns.route("/v2.1/flavors/<flavor_id>/os-flavor-access")
class FlavorAccess(Route):
    shows = {"get": shapes.FLAVOR_ACCESS}
    policy = {"get": _RULE}

    def get(self, flavor_id: str) -> Response:
        """List the projects that may use a flavor which is not public."""
        with reading() as session:
            flavor = flavors.get(session, context.caller(), flavor_id)
            return answer(_shown(flavor, flavor_access.projects(session, flavor)))


@ns.route("/v2.1/flavors/<flavor_id>/action")
class FlavorAction(Route):
    shows = {"post": shapes.FLAVOR_ACCESS}
    policy = {"post": INSIDE}
    asks = {"post": (f"{_RULE}:add_tenant_access", f"{_RULE}:remove_tenant_access")}

    @documented(ns, schemas.FLAVOR_ACTION)
    def post(self, flavor_id: str) -> Response:
        """Give a project access to a flavor, or take it away."""
        wanted: dict[str, Any] = body(schemas.FLAVOR_ACTION)
        ((action, given),) = wanted.items()
        rule, work = _ACTIONS[action]
        require(f"{_RULE}:{rule}")
        if work is _add:
            meeting.project(given["tenant"])

        def changed(session: Session) -> Response:
            flavor = flavors.get(session, context.caller(), flavor_id, lock=True)
            work(session, flavor, given["tenant"])
            return answer(_shown(flavor, flavor_access.granted(session, flavor)))

        return once(changed)


def _add(session: Session, flavor: Flavor, project_id: str) -> None:
    if flavor.is_public and context.version() >= (2, 7):
        raise Conflict("Can not add access to a public flavor.")
    tenants.check(session, project_id)
    flavor_access.add(session, flavor, project_id)


_ACTIONS = {
    "addTenantAccess": ("add_tenant_access", _add),
    "removeTenantAccess": ("remove_tenant_access", flavor_access.remove),
}
