"""Images: their tags, one at a time."""

from __future__ import annotations

from flask import Response

from app.errors import Invalid, NotFound, TooLarge
from app.store import images
from app.store.database import transaction
from app.web import context
from app.web.answers import nothing
from app.web.api import Route
from app.web.image import schemas
from app.web.image.versions import ns

_SCHEMA = schemas.IMAGE.schema["properties"]["tags"]
_LENGTH, _COUNT = _SCHEMA["items"]["maxLength"], _SCHEMA["maxItems"]


@ns.route("/v2/images/<image_id>/tags/<tag>")
class Tag(Route):
    policy = {"put": "modify_image", "delete": "modify_image"}
    answers = {"put": (204,)}

    def put(self, image_id: str, tag: str) -> Response:
        """Tag an image; a tag that it has stays as it is."""
        if len(tag) > _LENGTH:
            raise Invalid(f"Invalid input for field tag: is longer than {_LENGTH} characters")
        with transaction() as session:
            row = images.for_change(session, context.caller(), image_id)
            if tag not in row.tags:
                if len(row.tags) >= _COUNT:
                    raise TooLarge(f"An image has at most {_COUNT} tags.")
                row.tags = [*row.tags, tag]
        return nothing()

    def delete(self, image_id: str, tag: str) -> Response:
        """Remove a tag."""
        with transaction() as session:
            row = images.for_change(session, context.caller(), image_id)
            if tag not in row.tags:
                raise NotFound(f"Image {image_id} has no tag {tag}.")
            row.tags = [one for one in row.tags if one != tag]
        return nothing()
