"""Images' custom properties by way of Compute, as it was until 2.38."""

from __future__ import annotations

from flask import Response
from sqlalchemy.orm import Session

from app.errors import Invalid, NotFound
from app.models import Image
from app.store import images, server_metadata
from app.store.database import reading, transaction
from app.web import context
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.compute import schemas
from app.web.compute.versions import ns
from app.web.image.schemas import OURS, check_writable
from app.web.microversions import before
from app.web.shapes import proxies as shapes
from app.web.shapes.parts import NOTHING

GONE = (2, 39)


def _merge(session: Session, image_id: str, given: dict[str, str], *, anew: bool = False) -> Image:
    """Set items of an image's metadata; `anew`: these and no others.

    Raises NotFound, Forbidden for somebody else's image or the cloud's own attributes, OverQuota.
    """
    for name in given:
        check_writable(name)
        if name in OURS:
            raise Invalid(f"Invalid input for field metadata: {name[:64]} is no custom property")
    image = images.for_change(session, context.caller(), image_id)
    kept = {**({} if anew else image.properties), **given}
    server_metadata.check_quota(session, image.owner, len(kept))
    image.properties = kept
    return image


def _item(image: Image, key: str) -> str:
    if key not in image.properties:
        raise NotFound("Metadata item was not found")
    return str(image.properties[key])


@ns.route("/v2.1/images/<image_id>/metadata")
class ImageMetadata(Route):
    shows = {"get": shapes.METADATA, "post": shapes.METADATA, "put": shapes.METADATA}
    versions = before(GONE, "get", "post", "put")
    policy = {"get": "get_image", "post": "modify_image", "put": "modify_image"}

    def get(self, image_id: str) -> Response:
        """Show an image's metadata."""
        with reading() as session:
            found = images.get(session, context.caller(), image_id)
        return answer({"metadata": found.properties})

    @documented(ns, schemas.METADATA_ITEMS)
    def post(self, image_id: str) -> Response:
        """Add to an image's metadata, or change items of it."""
        given = body(schemas.METADATA_ITEMS)["metadata"]
        return once(
            lambda session: answer({"metadata": _merge(session, image_id, given).properties})
        )

    @documented(ns, schemas.METADATA_ITEMS)
    def put(self, image_id: str) -> Response:
        """Put other metadata in the place of an image's."""
        given = body(schemas.METADATA_ITEMS)["metadata"]
        with transaction() as session:
            kept = _merge(session, image_id, given, anew=True).properties
        return answer({"metadata": kept})


@ns.route("/v2.1/images/<image_id>/metadata/<key>")
class ImageMetadataItem(Route):
    shows = {"get": shapes.ONE_ITEM, "put": shapes.ONE_ITEM, "delete": NOTHING}
    versions = before(GONE, "get", "put", "delete")
    policy = {"get": "get_image", "put": "modify_image", "delete": "modify_image"}

    def get(self, image_id: str, key: str) -> Response:
        """Show one item of an image's metadata."""
        with reading() as session:
            found = images.get(session, context.caller(), image_id)
        return answer({"meta": {key: _item(found, key)}})

    @documented(ns, schemas.METADATA_ITEM)
    def put(self, image_id: str, key: str) -> Response:
        """Add or change one item of an image's metadata."""
        given = body(schemas.METADATA_ITEM)["meta"]
        if key not in given:
            raise Invalid("Invalid input for field meta: it is not the item that the path names")
        with transaction() as session:
            _merge(session, image_id, given)
        return answer({"meta": given})

    def delete(self, image_id: str, key: str) -> Response:
        """Remove one item of an image's metadata."""
        with transaction() as session:
            image = images.for_change(session, context.caller(), image_id)
            _item(image, key)
            image.properties = {k: v for k, v in image.properties.items() if k != key}
        return nothing()
