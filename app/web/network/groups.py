"""Security groups."""

from __future__ import annotations

from flask import Response
from sqlalchemy.orm import Session

from app.models import SecurityGroup
from app.store import database, networks, security_groups
from app.web import context
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.network import schemas, views
from app.web.network.resources import chosen, listed, listing, owner
from app.web.network.versions import ns
from app.web.shapes import network as shapes
from app.web.shapes.parts import NOTHING, under

_COLUMNS = {
    "id": ("id", str),
    "name": ("name", str),
    "description": ("description", str),
    "tenant_id": ("project_id", str),
    "project_id": ("project_id", str),
}
_FIXED = {"shared": "false", "stateful": "true", "tags": "", "tags-any": ""}
_SORTABLE = ("id", "name", "description", "tenant_id", "project_id")


def ensure_default() -> None:
    """Whoever looks at a project's groups finds its default one."""
    project = context.caller().project_id
    with database.reading() as session:
        if security_groups.has_default(session, project):
            return
    with database.transaction() as session:
        security_groups.ensure_default(session, project)


@ns.route("/v2.0/security-groups")
class SecurityGroups(Route):
    shows = {
        "get": shapes.listed("security_groups", shapes.SECURITY_GROUP),
        "post": under("security_group", shapes.SECURITY_GROUP),
    }
    policy = {"get": "get_security_group", "post": "create_security_group"}
    answers = {"post": (201,)}

    @ns.doc(params=dict.fromkeys(_COLUMNS, "exactly this; several times for several"))
    def get(self) -> Response:
        """List the project's security groups."""
        wanted = listing(_COLUMNS, _SORTABLE, _FIXED)
        ensure_default()
        with database.reading() as session:
            found = networks.listed(session, context.caller(), SecurityGroup, wanted)
            rules = security_groups.rules_of(session, [row.id for row in found])
        shown = [views.security_group(row, rules[row.id]) for row in found]
        return answer(listed("security_groups", shown, wanted.page.limit))

    @documented(ns, schemas.NEW_GROUP)
    def post(self) -> Response:
        """Make a security group, which lets everything out and nothing in."""
        given = body(schemas.NEW_GROUP)["security_group"]
        project = owner(given, "create_security_group")

        def work(session: Session) -> Response:
            made = security_groups.create(
                session, project, given.get("name", ""), given.get("description", "")
            )
            rules = security_groups.rules_of(session, [made.id])
            return answer({"security_group": views.security_group(made, rules[made.id])}, 201)

        return once(work)


@ns.route("/v2.0/security-groups/<security_group_id>")
class OneSecurityGroup(Route):
    shows = {
        "get": shapes.shown("security_group", shapes.SECURITY_GROUP),
        "put": under("security_group", shapes.SECURITY_GROUP),
        "delete": NOTHING,
    }
    policy = {
        "get": "get_security_group",
        "put": "update_security_group",
        "delete": "delete_security_group",
    }

    def get(self, security_group_id: str) -> Response:
        """Show a security group."""
        ensure_default()
        with database.reading() as session:
            found = networks.get(session, context.caller(), SecurityGroup, security_group_id)
            rules = security_groups.rules_of(session, [found.id])
        shown = views.security_group(found, rules[found.id])
        return answer({"security_group": chosen([shown])[0]})

    @documented(ns, schemas.GROUP)
    def put(self, security_group_id: str) -> Response:
        """Change a security group's name or description."""
        given = body(schemas.GROUP)["security_group"]
        changes = {name: given[name] for name in ("name", "description") if name in given}
        with database.transaction() as session:
            caller = context.caller()
            found = security_groups.change(session, caller, security_group_id, changes)
            rules = security_groups.rules_of(session, [found.id])
        return answer({"security_group": views.security_group(found, rules[found.id])})

    def delete(self, security_group_id: str) -> Response:
        """Remove a security group that no port is in, and the rules that name it."""
        with database.transaction() as session:
            security_groups.remove(session, context.caller(), security_group_id)
        return nothing()
