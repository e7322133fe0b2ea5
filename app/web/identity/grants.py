"""Role assignments: on projects and on the whole cloud."""

from __future__ import annotations

from flask import Response, request

from app.errors import Invalid
from app.store import grants
from app.store.database import reading, transaction
from app.store.grants import Where
from app.web import context
from app.web.answers import answer, nothing
from app.web.api import Route
from app.web.identity import fields, views
from app.web.identity.versions import ns
from app.web.shapes import identity as shapes
from app.web.shapes.parts import NOTHING


def _given(where: Where, user_id: str) -> Response:
    base = context.base_url()
    with reading() as session:
        found = grants.given(session, where, user_id)
    return answer(views.listed("roles", [views.role(row, base) for row in found], base))


def _check(where: Where, user_id: str, role_id: str) -> Response:
    with reading() as session:
        grants.check(session, where, user_id, role_id)
    return nothing()


def _add(where: Where, user_id: str, role_id: str) -> Response:
    with transaction() as session:
        grants.add(session, where, user_id, role_id)
    return nothing()


def _remove(where: Where, user_id: str, role_id: str) -> Response:
    with transaction() as session:
        grants.remove(session, where, user_id, role_id)
    context.web().tokens.revocations.expire()
    return nothing()


@ns.route("/v3/projects/<project_id>/users/<user_id>/roles")
class ProjectRoles(Route):
    shows = {"get": shapes.listed("roles", shapes.ROLE)}
    policy = {"get": "identity:list_grants"}

    def get(self, project_id: str, user_id: str) -> Response:
        """List the roles that a user was given on a project."""
        return _given(Where(project_id), user_id)


@ns.route("/v3/projects/<project_id>/users/<user_id>/roles/<role_id>")
class ProjectRole(Route):
    shows = {"get": NOTHING, "put": NOTHING, "delete": NOTHING}
    policy = {
        "get": "identity:check_grant",
        "put": "identity:create_grant",
        "delete": "identity:revoke_grant",
    }
    answers = {"get": (204,), "put": (204,)}

    def get(self, project_id: str, user_id: str, role_id: str) -> Response:
        """Tell by 204 or 404 whether a user was given a role on a project."""
        return _check(Where(project_id), user_id, role_id)

    def put(self, project_id: str, user_id: str, role_id: str) -> Response:
        """Give a user a role on a project."""
        return _add(Where(project_id), user_id, role_id)

    def delete(self, project_id: str, user_id: str, role_id: str) -> Response:
        """Take a role on a project away; the user's tokens for it are void."""
        return _remove(Where(project_id), user_id, role_id)


@ns.route("/v3/system/users/<user_id>/roles")
class SystemRoles(Route):
    shows = {"get": shapes.listed("roles", shapes.ROLE)}
    policy = {"get": "identity:list_system_grants_for_user"}

    def get(self, user_id: str) -> Response:
        """List the roles that a user was given on the whole cloud."""
        return _given(Where(), user_id)


@ns.route("/v3/system/users/<user_id>/roles/<role_id>")
class SystemRole(Route):
    shows = {"get": NOTHING, "put": NOTHING, "delete": NOTHING}
    policy = {
        "get": "identity:check_system_grant_for_user",
        "put": "identity:create_system_grant_for_user",
        "delete": "identity:revoke_system_grant_for_user",
    }
    answers = {"get": (204,), "put": (204,)}

    def get(self, user_id: str, role_id: str) -> Response:
        """Tell by 204 or 404 whether a user was given a role on the whole cloud."""
        return _check(Where(), user_id, role_id)

    def put(self, user_id: str, role_id: str) -> Response:
        """Give a user a role on the whole cloud."""
        return _add(Where(), user_id, role_id)

    def delete(self, user_id: str, role_id: str) -> Response:
        """Take a role on the whole cloud away; the user's tokens for it are void."""
        return _remove(Where(), user_id, role_id)


@ns.route("/v3/role_assignments")
class RoleAssignments(Route):
    shows = {"get": shapes.listed("role_assignments", shapes.GRANT)}
    policy = {"get": "identity:list_role_assignments"}

    @ns.doc(
        params={
            "user.id": "of this user",
            "role.id": "of this role",
            "scope.project.id": "on this project",
            "scope.system": "all: on the whole cloud",
            "effective": "with the roles that others imply",
            "include_names": "names besides ids",
        }
    )
    def get(self) -> Response:
        """List who was given which role where."""
        args, base = request.args, context.base_url()
        with_names = fields.is_asked("include_names")
        wanted = grants.GrantQuery(
            args.get("user.id"), args.get("role.id"), _where(), fields.is_asked("effective")
        )
        with reading() as session:
            found = grants.listed(session, wanted)
        # Nobody has roles by a group, on a domain, or handed down.
        if args.get("group.id") or args.get("scope.domain.id"):
            found = []
        if args.get("scope.OS-INHERIT:inherited_to"):
            found = []
        shown = [views.grant(one, base, with_names=with_names) for one in found]
        return answer(views.listed("role_assignments", shown, base))


def _where() -> Where | None:
    project_id, system = request.args.get("scope.project.id"), request.args.get("scope.system")
    if project_id and system:
        raise Invalid("Invalid input for query parameter scope.system: not with scope.project.id")
    if system:
        return Where()
    return Where(project_id) if project_id else None
