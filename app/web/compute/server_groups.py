"""Server groups: servers of a project that are kept on one host, or apart."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from sqlalchemy.orm import Session

from app.domain.request_spec import ANTI_AFFINITY
from app.errors import Invalid
from app.models import ServerGroup
from app.store import server_groups
from app.store.database import reading, transaction
from app.web import context, query
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.compute import group_schemas as schemas
from app.web.compute.ranges import known_parameters
from app.web.compute.versions import ns
from app.web.policy import allows
from app.web.shapes import compute as shapes
from app.web.shapes.parts import NOTHING

OWNED, ONE_POLICY = (2, 13), (2, 64)
_PARAMS = {
    "all_projects": "for administrators: the groups of all projects",
    "limit": "at most 1000",
    "offset": "how many to leave out first",
}
_RULE = "os_compute_api:os-server-groups:"


def _shown(group: ServerGroup, members: list[str]) -> dict[str, Any]:
    """As this request's version has it."""
    version = context.version()
    shown: dict[str, Any] = {"id": group.id, "name": group.name, "members": members}
    if version >= ONE_POLICY:
        rules = {"max_server_per_host": group.max_server_per_host}
        shown |= {"policy": group.policy, "rules": rules if group.max_server_per_host else {}}
    else:
        shown |= {"policies": [group.policy], "metadata": {}}
    if version >= OWNED:
        shown |= {"project_id": group.project_id, "user_id": group.user_id}
    return shown


@ns.route("/v2.1/os-server-groups")
class ServerGroups(Route):
    shows = {"get": shapes.SERVER_GROUPS, "post": shapes.ONE_SERVER_GROUP}
    policy = {"get": f"{_RULE}index", "post": f"{_RULE}create"}
    asks = {"get": (f"{_RULE}index:all_projects",)}

    @ns.doc(params=_PARAMS)
    def get(self) -> Response:
        """List the project's server groups."""
        known_parameters(*_PARAMS)
        everybody = "all_projects" in request.args and allows(f"{_RULE}index:all_projects")
        limit, offset = query.limit(), query.number("offset", 0)
        with reading() as session:
            found = server_groups.page(
                session, context.caller(), all_projects=everybody, limit=limit, offset=offset
            )
            members = server_groups.members(session, found)
        return answer({"server_groups": [_shown(one, members[one.id]) for one in found]})

    @documented(ns, schemas.SERVER_GROUPS[-1])
    def post(self) -> Response:
        """Make a server group; servers come into it by the scheduler hint `group`."""
        wanted = body(schemas.server_group(context.version()))["server_group"]
        policy = wanted["policy"] if "policy" in wanted else wanted["policies"][0]
        most = _most_per_host(policy, wanted.get("rules", {}))
        caller = context.caller()

        def work(session: Session) -> Response:
            made = ServerGroup(
                project_id=caller.project_id,
                user_id=caller.user_id,
                name=wanted["name"],
                policy=policy,
                max_server_per_host=most,
            )
            server_groups.add(session, made)
            return answer({"server_group": _shown(made, [])})

        return once(work)


def _most_per_host(policy: str, rules: dict[str, Any]) -> int | None:
    if not rules:
        return None
    if policy != ANTI_AFFINITY:
        raise Invalid(f"Invalid input for field server_group.rules: only {ANTI_AFFINITY} has rules")
    most = int(rules["max_server_per_host"])
    if not 1 <= most <= 2**31 - 1:
        raise Invalid(
            "Invalid input for field server_group.rules.max_server_per_host: must be a whole "
            f"number from 1 to {2**31 - 1}"
        )
    return most


@ns.route("/v2.1/os-server-groups/<group_id>")
class OneServerGroup(Route):
    shows = {"get": shapes.ONE_SERVER_GROUP, "delete": NOTHING}
    policy = {"get": f"{_RULE}show", "delete": f"{_RULE}delete"}

    def get(self, group_id: str) -> Response:
        """Show a server group with its servers that are not deleted."""
        with reading() as session:
            found = server_groups.get(session, context.caller(), group_id)
            members = server_groups.members(session, [found])
        return answer({"server_group": _shown(found, members[found.id])})

    def delete(self, group_id: str) -> Response:
        """Forget a server group; its servers live on."""
        with transaction() as session:
            server_groups.remove(session, context.caller(), group_id)
        return nothing()
