"""Users."""

from __future__ import annotations

import uuid
from typing import Any

from flask import Response, request
from sqlalchemy.orm import Session

from app.errors import Unauthorized
from app.models import User
from app.store import identity, users
from app.store.database import reading, transaction
from app.web import context, query
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.identity import fields, projects, schemas, views
from app.web.identity.tokens import DENIED
from app.web.identity.versions import ns
from app.web.policy import INSIDE, require
from app.web.shapes import identity as shapes
from app.web.shapes.parts import NOTHING, under

_COLUMNS = ("name", "description", "enabled", "email", "default_project_id")
_FILTERS = {
    "name": "exactly this",
    "domain_id": "of this domain",
    "enabled": "true or false",
    "limit": "at most so many",
    "marker": "after the user with this id",
}


def about(rule: str, user_id: str) -> None:
    """Require `rule` of the caller towards the user, before looking whether there is one."""
    require(rule, **{"target.user.id": user_id})


def _answer(row: User, status: int = 200) -> Response:
    return answer({"user": views.user(row, context.base_url())}, status)


def _columns(wanted: dict[str, Any]) -> dict[str, Any]:
    found = fields.columns(wanted, _COLUMNS)
    if "password" in wanted:
        password = wanted["password"]
        found["password_hash"] = identity.hash_password(password) if password else None
    return found


@ns.route("/v3/users")
class Users(Route):
    shows = {"get": shapes.listed("users", shapes.USER), "post": under("user", shapes.USER)}
    policy = {"get": "identity:list_users", "post": "identity:create_user"}
    answers = {"post": (201,)}

    @ns.doc(params=_FILTERS)
    def get(self) -> Response:
        """List users."""
        args, base = request.args, context.base_url()
        enabled = query.flag("enabled")
        wanted = users.UserQuery(args.get("name"), args.get("domain_id"), enabled, fields.page())
        with reading() as session:
            shown, following = fields.cut(users.listed(session, wanted))
        return answer(views.listed("users", [views.user(u, base) for u in shown], base, following))

    @documented(ns, schemas.NEW_USER)
    def post(self) -> Response:
        """Make a user, who has no roles yet; without a password nobody can log in as them."""
        wanted = body(schemas.NEW_USER)["user"]
        domain_id = fields.domain_of(wanted, "user")
        made = User(id=uuid.uuid4().hex, domain_id=domain_id, enabled=True, description="")
        for name, value in _columns(wanted).items():
            setattr(made, name, value)

        def work(session: Session) -> Response:
            users.add(session, made)
            return _answer(made, 201)

        return once(work)


@ns.route("/v3/users/<user_id>")
class OneUser(Route):
    shows = {
        "get": under("user", shapes.USER),
        "patch": under("user", shapes.USER),
        "delete": NOTHING,
    }
    asks = {"get": ("identity:get_user",)}
    policy = {"get": INSIDE, "patch": "identity:update_user", "delete": "identity:delete_user"}

    def get(self, user_id: str) -> Response:
        """Show a user: any for administrators, else oneself."""
        about("identity:get_user", user_id)
        with reading() as session:
            return _answer(users.get(session, user_id))

    @documented(ns, schemas.USER)
    def patch(self, user_id: str) -> Response:
        """Change a user; a new password or `enabled: false` voids the user's tokens."""
        wanted = body(schemas.USER)["user"]
        columns = _columns(wanted)
        with transaction() as session:
            found = users.get(session, user_id)
            fields.stays(wanted, "user", "domain_id", found.domain_id)
            users.change(session, user_id, columns)
        context.web().tokens.revocations.expire()
        return _answer(found)

    def delete(self, user_id: str) -> Response:
        """Remove a user; what the user made belongs to projects and stays."""
        with transaction() as session:
            users.remove(session, user_id)
        context.web().tokens.revocations.expire()
        return nothing()


@ns.route("/v3/users/<user_id>/password")
class Password(Route):
    shows = {"post": NOTHING}
    policy = {"post": INSIDE}
    answers = {"post": (204,)}
    asks = {"post": ("identity:change_password",)}

    @documented(ns, schemas.PASSWORD)
    def post(self, user_id: str) -> Response:
        """Change one's own password; all one's tokens become void."""
        about("identity:change_password", user_id)
        wanted = body(schemas.PASSWORD)["user"]
        with reading() as session:
            known = users.get(session, user_id).password_hash
        if not identity.password_matches(known, wanted["original_password"]) or known is None:
            raise Unauthorized(DENIED)
        fresh = identity.hash_password(wanted["password"])

        def work(session: Session) -> Response:
            users.change_password(session, user_id, known, fresh)
            return nothing()

        changed = once(work)
        context.web().tokens.revocations.expire()
        return changed


@ns.route("/v3/users/<user_id>/projects")
class UserProjects(Route):
    shows = {"get": shapes.listed("projects", shapes.PROJECT)}
    policy = {"get": INSIDE}
    asks = {"get": ("identity:list_user_projects",)}

    def get(self, user_id: str) -> Response:
        """List the projects on which a user has a role."""
        about("identity:list_user_projects", user_id)
        with reading() as session:
            users.get(session, user_id)
        return projects.listing(user_id)


@ns.route("/v3/users/<user_id>/groups")
class UserGroups(Route):
    shows = {"get": shapes.none("groups")}
    policy = {"get": INSIDE}
    asks = {"get": ("identity:list_groups_for_user",)}

    def get(self, user_id: str) -> Response:
        """List a user's groups: there are none."""
        about("identity:list_groups_for_user", user_id)
        with reading() as session:
            users.get(session, user_id)
        return answer(views.listed("groups", [], context.base_url()))
