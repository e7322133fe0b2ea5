"""Projects."""

from __future__ import annotations

import uuid

from flask import Response, request
from sqlalchemy.orm import Session

from app.errors import Invalid
from app.models import Project
from app.store import projects
from app.store.database import reading, transaction
from app.web import context, query
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.identity import fields, schemas, views
from app.web.identity.versions import ns
from app.web.policy import INSIDE, require
from app.web.shapes import identity as shapes
from app.web.shapes.parts import NOTHING, under

_COLUMNS = ("name", "description", "enabled")
_FILTERS = {
    "name": "exactly this",
    "domain_id": "of this domain",
    "parent_id": "below this; the domain is the only parent",
    "enabled": "true or false",
    "limit": "at most so many",
    "marker": "after the project with this id",
}


def listing(user_id: str | None = None) -> Response:
    """A page of projects as the query asks; a user's only when one is given."""
    args = request.args
    domain_id = args.get("domain_id", args.get("parent_id"))
    # There are no projects that are domains, with tags, or below others.
    if fields.is_asked("is_domain") or args.get("tags") or args.get("tags-any"):
        return answer(views.listed("projects", [], context.base_url()))
    if args.get("parent_id", domain_id) != domain_id:
        return answer(views.listed("projects", [], context.base_url()))
    wanted = projects.ProjectQuery(
        args.get("name"), domain_id, query.flag("enabled"), user_id, fields.page()
    )
    with reading() as session:
        shown, following = fields.cut(projects.listed(session, wanted))
    base = context.base_url()
    return answer(
        views.listed("projects", [views.project(p, base) for p in shown], base, following)
    )


def _answer(row: Project, status: int = 200) -> Response:
    return answer({"project": views.project(row, context.base_url())}, status)


@ns.route("/v3/projects")
class Projects(Route):
    shows = {
        "get": shapes.listed("projects", shapes.PROJECT),
        "post": under("project", shapes.PROJECT),
    }
    policy = {"get": "identity:list_projects", "post": "identity:create_project"}
    answers = {"post": (201,)}

    @ns.doc(params=_FILTERS)
    def get(self) -> Response:
        """List projects."""
        return listing()

    @documented(ns, schemas.NEW_PROJECT)
    def post(self) -> Response:
        """Make a project."""
        wanted = body(schemas.NEW_PROJECT)["project"]
        domain_id = fields.domain_of(wanted, "project")
        if wanted.get("parent_id") not in (None, domain_id):
            raise Invalid(
                "Invalid input for field project.parent_id: projects stand directly below their "
                f"domain, {domain_id}"
            )
        made = Project(id=uuid.uuid4().hex, domain_id=domain_id, enabled=True, description="")
        for name, value in fields.columns(wanted, _COLUMNS).items():
            setattr(made, name, value)

        def work(session: Session) -> Response:
            projects.add(session, made)
            return _answer(made, 201)

        return once(work)


@ns.route("/v3/projects/<project_id>")
class OneProject(Route):
    shows = {
        "get": under("project", shapes.PROJECT),
        "patch": under("project", shapes.PROJECT),
        "delete": NOTHING,
    }
    asks = {"get": ("identity:get_project",)}
    policy = {
        "get": INSIDE,
        "patch": "identity:update_project",
        "delete": "identity:delete_project",
    }

    def get(self, project_id: str) -> Response:
        """Show a project: any for administrators, else the token's own."""
        require("identity:get_project", **{"target.project.id": project_id})
        with reading() as session:
            return _answer(projects.get(session, project_id))

    @documented(ns, schemas.PROJECT)
    def patch(self, project_id: str) -> Response:
        """Rename, describe, enable or disable a project; disabled, its tokens are void."""
        wanted = body(schemas.PROJECT)["project"]
        with transaction() as session:
            found = projects.get(session, project_id)
            fields.stays(wanted, "project", "domain_id", found.domain_id)
            fields.stays(wanted, "project", "parent_id", found.domain_id)
            projects.change(session, project_id, fields.columns(wanted, _COLUMNS))
        context.web().tokens.revocations.expire()
        return _answer(found)

    def delete(self, project_id: str) -> Response:
        """Remove a project that owns no servers, images or networks any more."""
        with transaction() as session:
            projects.remove(session, project_id)
        context.web().tokens.revocations.expire()
        return nothing()
