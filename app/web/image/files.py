"""Images: their data."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from flask import Response, request, send_file

from app.errors import Forbidden, Invalid, NotFound, Unauthorized
from app.images import access
from app.models import Image
from app.store import image_data, images
from app.store.database import reading
from app.web import context
from app.web.answers import answer, nothing
from app.web.api import Route
from app.web.identity.tokens import DENIED
from app.web.image import uploads
from app.web.image.versions import ns

OCTETS = "application/octet-stream"
_WITH_DATA = (images.ACTIVE, images.DEACTIVATED)


@ns.route("/v2/images/<image_id>/file")
class ImageFile(Route):
    policy = {"put": "upload_image", "get": "download_image"}
    answers = {"put": (200, 204), "get": (200, 204, 206, 304, 416)}
    streams_body = True
    takes_image_token = True

    @ns.doc(consumes=[OCTETS])
    def put(self, image_id: str) -> Response:
        """Upload an image's data, as it streams; it is inspected before the image is active."""
        if _bearer() is not None:
            return _receive_made(image_id)
        _receive(image_id, image_data.UPLOAD)
        return nothing()

    @ns.produces([OCTETS])
    def get(self, image_id: str) -> Response:
        """Download an image's data, or a range of it."""
        image = _readable(image_id)
        if image.status == images.QUEUED:
            return nothing()
        if image.status == images.DEACTIVATED and not context.caller().is_admin:
            raise Forbidden("The requested image has been deactivated: its data is withheld.")
        path = context.settings().path("images", image.file_name or "")
        if image.status not in _WITH_DATA:
            raise NotFound(f"The data of image {image_id} is not there.")
        return _sent(image, path)


def _sent(image: Image, path: Path) -> Response:
    try:
        made = send_file(path, mimetype=OCTETS, conditional=True, etag=image.checksum or False)
    except FileNotFoundError as error:  # deleted a moment ago, or lost
        raise NotFound(f"The data of image {image.id} is not there.") from error
    made.headers["Content-MD5"] = image.checksum or ""
    return made


@ns.route("/v2/images/<image_id>/stage")
class ImageStage(Route):
    policy = {"put": "upload_image"}
    answers = {"put": (204,)}
    streams_body = True

    @ns.doc(consumes=[OCTETS])
    def put(self, image_id: str) -> Response:
        """Stage an image's data, as it streams: inspected and kept, and in use once imported."""
        _receive(image_id, image_data.STAGE)
        return nothing()


def _receive(image_id: str, way: image_data.Way) -> None:
    caller = context.caller()
    if request.mimetype != OCTETS:
        raise Invalid(f"Send the data as {OCTETS}", code="unsupported_media_type")
    incoming = uploads.Incoming(request.stream, request.content_length)
    uploads.receive(context.settings(), caller, image_id, incoming, way)


def _receive_made(image_id: str) -> Response:
    """A host sends an image that it has made of a server; told is what was found of it."""
    name = access.upload_named(context.web().keys.current(), _bearer() or "", image_id)
    if name is None:
        raise Unauthorized(DENIED)
    incoming = uploads.Incoming(request.stream, request.content_length)
    received = uploads.receive_made(context.settings(), image_id, name, incoming)
    return answer(asdict(received))


def _bearer() -> str | None:
    given = request.authorization
    return (given.token or "") if given is not None and given.type == "bearer" else None


def _readable(image_id: str) -> Image:
    """The image, for whoever may see it or bears a token for its data."""
    given = _bearer()
    with reading() as session:
        if given is None:
            return images.get(session, context.caller(), image_id)
        if not access.check_token(context.web().keys.current(), given, image_id):
            raise Unauthorized(DENIED)
        return image_data.readable(session, image_id)
