"""Images: putting staged data to use, and taking images out of use and back."""

from __future__ import annotations

from flask import Response
from sqlalchemy.orm import Session

from app.store import image_data, images
from app.store.database import reading
from app.web import context
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.image import schemas
from app.web.image.versions import ns
from app.web.shapes import images as shapes
from app.web.shapes.parts import NOTHING


@ns.route("/v2/info/import")
class ImportInfo(Route):
    shows = {"get": shapes.IMPORT_METHODS}
    policy = {"get": "get_import_info"}

    def get(self) -> Response:
        """Show how images can be imported."""
        described = {
            "description": "Import methods available.",
            "type": "array",
            "value": [*schemas.IMPORT_METHODS],
        }
        return answer({"import-methods": described})


@ns.route("/v2/images/<image_id>/import")
class ImageImport(Route):
    shows = {"post": NOTHING}
    policy = {"post": "import_image"}
    answers = {"post": (202,)}

    @documented(ns, schemas.IMPORT)
    def post(self, image_id: str) -> Response:
        """Put an image's staged data to use: it is active with this answer."""
        body(schemas.IMPORT)

        def work(session: Session) -> Response:
            image_data.import_staged(session, context.caller(), image_id)
            return nothing(202)

        return once(work)


@ns.route("/v2/images/<image_id>/tasks")
class ImageTasks(Route):
    shows = {"get": shapes.TASKS}
    policy = {"get": "tasks_api_access"}

    def get(self, image_id: str) -> Response:
        """List what is still to be done to an image: nothing, for imports end with their answer."""
        with reading() as session:
            images.get(session, context.caller(), image_id)
        return answer({"tasks": []})


@ns.route("/v2/images/<image_id>/actions/deactivate")
class Deactivate(Route):
    shows = {"post": NOTHING}
    policy = {"post": "deactivate"}
    answers = {"post": (204,)}

    def post(self, image_id: str) -> Response:
        """Withhold an image's data: only administrators read it, and no server boots from it."""

        def work(session: Session) -> Response:
            images.set_active(session, context.caller(), image_id, False)
            return nothing()

        return once(work)


@ns.route("/v2/images/<image_id>/actions/reactivate")
class Reactivate(Route):
    shows = {"post": NOTHING}
    policy = {"post": "reactivate"}
    answers = {"post": (204,)}

    def post(self, image_id: str) -> Response:
        """Put a deactivated image back to use."""

        def work(session: Session) -> Response:
            images.set_active(session, context.caller(), image_id, True)
            return nothing()

        return once(work)
