"""Images: the projects that they are shared with."""

from __future__ import annotations

from flask import Response
from sqlalchemy.orm import Session

from app.store import image_members
from app.store.database import reading, transaction
from app.web import context
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.image import schemas, views
from app.web.image.versions import ns
from app.web.shapes import images as shapes
from app.web.shapes.parts import NOTHING


@ns.route("/v2/images/<image_id>/members")
class Members(Route):
    shows = {"get": shapes.MEMBERS, "post": shapes.MEMBER}
    policy = {"get": "get_members", "post": "add_member"}

    def get(self, image_id: str) -> Response:
        """List the projects that an image is shared with; a member sees itself."""
        with reading() as session:
            found = image_members.members(session, context.caller(), image_id)
        shown = [views.member(one) for one in found]
        return answer({"members": shown, "schema": "/v2/schemas/members"})

    @documented(ns, schemas.MEMBER)
    def post(self, image_id: str) -> Response:
        """Share an image with a project, which is to accept it."""
        project_id = body(schemas.MEMBER)["member"]

        def work(session: Session) -> Response:
            made = image_members.add(session, context.caller(), image_id, project_id)
            return answer(views.member(made))

        return once(work)


@ns.route("/v2/images/<image_id>/members/<member_id>")
class Member(Route):
    shows = {"get": shapes.MEMBER, "put": shapes.MEMBER, "delete": NOTHING}
    policy = {"get": "get_member", "put": "modify_member", "delete": "delete_member"}

    def get(self, image_id: str, member_id: str) -> Response:
        """Show what a project made of an image that is shared with it."""
        with reading() as session:
            found = image_members.member(session, context.caller(), image_id, member_id)
        return answer(views.member(found))

    @documented(ns, schemas.MEMBER_STATUS)
    def put(self, image_id: str, member_id: str) -> Response:
        """Accept or reject an image that is shared with the caller's project."""
        status = body(schemas.MEMBER_STATUS)["status"]
        with transaction() as session:
            found = image_members.answer(session, context.caller(), image_id, member_id, status)
        return answer(views.member(found))

    def delete(self, image_id: str, member_id: str) -> Response:
        """Share an image with a project no longer; servers made of it keep running."""
        with transaction() as session:
            image_members.remove(session, context.caller(), image_id, member_id)
        return nothing()
