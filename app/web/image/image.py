"""One image's record."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from app.errors import Forbidden
from app.images import store
from app.models import Image
from app.store import images
from app.store.database import reading, transaction
from app.web import context
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import parsed
from app.web.image import patches, schemas, views
from app.web.image.images import VISIBILITIES, permit_visibility
from app.web.image.versions import ns
from app.web.keystone import meeting
from app.web.policy import allows, require
from app.web.shapes import images as shapes
from app.web.shapes.parts import NOTHING

_FORMATS = ("disk_format", "container_format")
_GIVES_AWAY = "modify_image:owner"


@ns.route("/v2/images/<image_id>")
class OneImage(Route):
    shows = {"get": shapes.IMAGE, "patch": shapes.IMAGE, "delete": NOTHING}
    policy = {"get": "get_image", "patch": "modify_image", "delete": "delete_image"}
    asks = {"patch": ("modify_image:owner", *VISIBILITIES.values())}

    def get(self, image_id: str) -> Response:
        """Show an image."""
        with reading() as session:
            found = images.get(session, context.caller(), image_id)
        return answer(views.image(found))

    @ns.doc(consumes=[patches.MEDIA_TYPE, patches.OLD_MEDIA_TYPE])
    @documented(ns, schemas.PATCH)
    def patch(self, image_id: str) -> Response:
        """Change an image: all operations, or none."""
        document = parsed((patches.MEDIA_TYPE, patches.OLD_MEDIA_TYPE))
        changes = patches.parse(request.mimetype or patches.MEDIA_TYPE, document)
        for one in changes:
            if one.path == ("owner",) and isinstance(one.value, str) and allows(_GIVES_AWAY):
                meeting.project(one.value)
        with transaction() as session:
            row = images.for_change(session, context.caller(), image_id)
            owner = row.owner
            _change(row, changes)
            if row.owner != owner:
                images.check_owner(session, row.owner)
            session.flush()
            session.refresh(row)
        return answer(views.image(row))

    def delete(self, image_id: str) -> Response:
        """Delete an image that is not protected; servers made of it keep running."""
        remove(image_id)
        return nothing()


def remove(image_id: str) -> None:
    """Delete an image with its data. Raises NotFound, and Forbidden when it may not go."""
    with transaction() as session:
        file_name = images.delete(session, context.caller(), image_id)
    if file_name is not None:
        store.remove(context.settings().path("images"), file_name)


def _change(row: Image, changes: list[patches.Change]) -> None:
    before = _writable(row)
    after = dict(before)
    patches.apply(after, changes)
    schemas.IMAGE.check(after)
    if after["visibility"] != before["visibility"]:
        permit_visibility(after["visibility"])
    if after["owner"] != before["owner"]:
        require(_GIVES_AWAY)
    for name in _FORMATS:
        if after[name] != before[name] and row.status != images.QUEUED:
            raise Forbidden(f"Attribute '{name}' can only be changed while the image is queued.")
    for name in schemas.OURS & set(after):
        value = after.pop(name)
        if value != before[name]:
            setattr(row, _COLUMNS.get(name, name), value)
    row.properties = after


_COLUMNS = {"os_hidden": "hidden"}


def _writable(row: Image) -> dict[str, Any]:
    return {
        **row.properties,
        "name": row.name,
        "visibility": row.visibility,
        "protected": row.protected,
        "os_hidden": row.hidden,
        "owner": row.owner,
        "disk_format": row.disk_format,
        "container_format": row.container_format,
        "min_disk": row.min_disk,
        "min_ram": row.min_ram,
        "tags": row.tags,
    }
