"""Roles."""

from __future__ import annotations

import uuid

from flask import Response, request
from sqlalchemy.orm import Session

from app.models import Role
from app.store import roles
from app.store.database import reading, transaction
from app.web import context
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.identity import fields, schemas, views
from app.web.identity.versions import ns
from app.web.shapes import identity as shapes
from app.web.shapes.parts import NOTHING, under

_COLUMNS = ("name", "description")


def _answer(row: Role, status: int = 200) -> Response:
    return answer({"role": views.role(row, context.base_url())}, status)


@ns.route("/v3/roles")
class Roles(Route):
    shows = {"get": shapes.listed("roles", shapes.ROLE), "post": under("role", shapes.ROLE)}
    policy = {"get": "identity:list_roles", "post": "identity:create_role"}
    answers = {"post": (201,)}

    @ns.doc(params={"name": "exactly this", "domain_id": "of this domain: none is of one"})
    def get(self) -> Response:
        """List roles."""
        base = context.base_url()
        with reading() as session:
            found = roles.listed(session, request.args.get("name"))
        if request.args.get("domain_id", "null") not in ("", "null"):
            found = []
        return answer(views.listed("roles", [views.role(row, base) for row in found], base))

    @documented(ns, schemas.NEW_ROLE)
    def post(self) -> Response:
        """Make a role of one's own; it matters where a policy names it."""
        made = Role(id=uuid.uuid4().hex, description="")
        for name, value in fields.columns(body(schemas.NEW_ROLE)["role"], _COLUMNS).items():
            setattr(made, name, value)

        def work(session: Session) -> Response:
            roles.add(session, made)
            return _answer(made, 201)

        return once(work)


@ns.route("/v3/roles/<role_id>")
class OneRole(Route):
    shows = {
        "get": under("role", shapes.ROLE),
        "patch": under("role", shapes.ROLE),
        "delete": NOTHING,
    }
    policy = {
        "get": "identity:get_role",
        "patch": "identity:update_role",
        "delete": "identity:delete_role",
    }

    def get(self, role_id: str) -> Response:
        """Show a role."""
        with reading() as session:
            return _answer(roles.get(session, role_id))

    @documented(ns, schemas.ROLE)
    def patch(self, role_id: str) -> Response:
        """Describe a role, or rename one of one's own."""
        wanted = fields.columns(body(schemas.ROLE)["role"], _COLUMNS)
        with transaction() as session:
            changed = roles.change(session, role_id, wanted)
        return _answer(changed)

    def delete(self, role_id: str) -> Response:
        """Remove a role of one's own from everybody; tokens that it helped to get are void."""
        with transaction() as session:
            roles.remove(session, role_id)
        context.web().tokens.revocations.expire()
        return nothing()
