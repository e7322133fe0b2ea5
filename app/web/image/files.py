"""Images: their data."""

from __future__ import annotations

from flask import Response, request, send_file

from app.errors import Invalid, NotFound, Unauthorized
from app.images import access
from app.models import Image
from app.store import images
from app.store.database import reading
from app.web import context
from app.web.answers import nothing
from app.web.api import Route
from app.web.identity.tokens import DENIED
from app.web.image import uploads
from app.web.image.versions import ns

OCTETS = "application/octet-stream"


@ns.route("/v2/images/<image_id>/file")
class ImageFile(Route):
    policy = {"put": "upload_image", "get": "download_image"}
    streams_body = True
    takes_image_token = True

    @ns.doc(consumes=[OCTETS])
    def put(self, image_id: str) -> Response:
        """Upload an image's data, as it streams; it is inspected before the image is active."""
        caller = context.caller()
        if request.mimetype != OCTETS:
            raise Invalid(f"Send the data as {OCTETS}", code="unsupported_media_type")
        settings, length = context.settings(), request.content_length
        uploads.receive(settings, caller, image_id, request.stream, length)
        return nothing()

    @ns.produces([OCTETS])
    def get(self, image_id: str) -> Response:
        """Download an image's data, or a range of it."""
        image = _readable(image_id)
        if image.status == images.QUEUED:
            return nothing()
        path = context.settings().path("images", image.file_name or "")
        if image.status != images.ACTIVE or not path.is_file():
            raise NotFound(f"The data of image {image_id} is not there.")
        made = send_file(path, mimetype=OCTETS, conditional=True, etag=image.checksum or False)
        made.headers["Content-MD5"] = image.checksum or ""
        return made


def _readable(image_id: str) -> Image:
    """The image, for whoever may see it or bears a token for its data."""
    given = request.authorization
    with reading() as session:
        if given is None or given.type != "bearer":
            return images.get(session, context.caller(), image_id)
        if not access.check_token(context.web().keys.current(), given.token or "", image_id):
            raise Unauthorized(DENIED)
        return images.readable(session, image_id)
