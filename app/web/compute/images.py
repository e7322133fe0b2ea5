"""Images by way of Compute, as it was until 2.35: the same ones as the image service's."""

from __future__ import annotations

import re
from typing import Any

from flask import Response, request

from app.models import Image
from app.store import images
from app.store.database import reading
from app.store.paging import Page
from app.web import context, query, times
from app.web.answers import answer, nothing
from app.web.api import Route
from app.web.compute import views
from app.web.compute.versions import ns
from app.web.image.image import remove
from app.web.microversions import before
from app.web.shapes import proxies as shapes
from app.web.shapes.parts import NOTHING

GONE = (2, 36)
_STATUS = {
    images.ACTIVE: "ACTIVE",
    images.DEACTIVATED: "UNKNOWN",
    images.QUEUED: "SAVING",
    images.SAVING: "SAVING",
    images.UPLOADING: "SAVING",
}
_PROGRESS = {images.ACTIVE: 100, images.QUEUED: 25, images.SAVING: 50, images.UPLOADING: 50}
_TYPE, _SERVER = "image_type", "instance_uuid"
"""Properties of snapshots."""
_PARAMS = {
    "name": "exactly this name",
    "status": "ACTIVE, SAVING, DELETED, ERROR or UNKNOWN",
    "server": "made of this server: its id or a link to it",
    "type": "snapshot, backup or base",
    "changes-since": "ISO 8601: changed then or later",
    "minDisk": "with this least disk in GiB; minRam likewise in MiB",
    "limit": "at most 1000",
    "marker": "the last id of the page before",
}


def _wanted() -> images.ImageQuery | None:
    """What the query asks for; None for a status that no image has."""
    args = request.args
    columns: dict[str, tuple[str, ...]] = {}
    if "name" in args:
        columns["name"] = (args["name"],)
    if "status" in args:
        status = args["status"].upper()
        columns["status"] = tuple(ours for ours, shown in _STATUS.items() if shown == status)
        if not columns["status"]:
            return None
    properties = {}
    if "server" in args:
        properties[_SERVER] = args["server"].rstrip("/").rsplit("/", 1)[-1]
    if "type" in args:
        properties[_TYPE] = args["type"]
    since = args.get("changes-since")
    moments = (
        (images.Moment("updated_at", "gte", times.parse(since, "changes-since")),) if since else ()
    )
    return images.ImageQuery(
        columns=columns,
        properties=properties,
        times=moments,
        min_disk=query.number("minDisk", 0) if "minDisk" in args else None,
        min_ram=query.number("minRam", 0) if "minRam" in args else None,
        page=Page(query.limit(), args.get("marker"), descending=True),
    )


def _listing(whole: bool) -> Response:
    wanted = _wanted()
    if wanted is None or wanted.page.limit == 0:
        return answer({"images": []})
    with reading() as session:
        found = images.page(session, context.caller(), wanted)
    base = context.base_url()
    shown: dict[str, Any] = {
        "images": [_whole(row, base) if whole else _short(row, base) for row in found]
    }
    if len(found) == wanted.page.limit:
        shown["images_links"] = views.next_link(found[-1].id, wanted.page.limit)
    return answer(shown)


def _short(row: Image, base: str) -> dict[str, Any]:
    data = {
        "rel": "alternate",
        "type": "application/vnd.openstack.image",
        "href": f"{base}/image/images/{row.id}",
    }
    return {"id": row.id, "name": row.name, "links": [*views.links(base, "images", row.id), data]}


def _whole(row: Image, base: str) -> dict[str, Any]:
    shown = {
        **_short(row, base),
        "status": _STATUS.get(row.status, "UNKNOWN"),
        "progress": _PROGRESS.get(row.status, 0),
        "created": times.seconds(row.created_at),
        "updated": times.seconds(row.updated_at),
        "minDisk": row.min_disk,
        "minRam": row.min_ram,
        "metadata": row.properties,
        "OS-EXT-IMG-SIZE:size": row.size,
    }
    if server := row.properties.get(_SERVER):
        known = re.sub(r"[^0-9a-zA-Z-]", "", server)[:36]
        shown["server"] = {"id": server, "links": views.links(base, "servers", known)}
    managed = str(row.properties.get("auto_disk_config", "")).lower()
    if managed in ("true", "false"):
        shown["OS-DCF:diskConfig"] = "AUTO" if managed == "true" else "MANUAL"
    return shown


@ns.route("/v2.1/images")
class Images(Route):
    shows = {"get": shapes.IMAGES}
    versions = before(GONE, "get")
    policy = {"get": "get_images"}

    @ns.doc(params=_PARAMS)
    def get(self) -> Response:
        """List images."""
        return _listing(whole=False)


@ns.route("/v2.1/images/detail")
class ImagesDetail(Route):
    shows = {"get": shapes.IMAGES_DETAIL}
    versions = before(GONE, "get")
    policy = {"get": "get_images"}

    @ns.doc(params=_PARAMS)
    def get(self) -> Response:
        """List images with all they have."""
        return _listing(whole=True)


@ns.route("/v2.1/images/<image_id>")
class OneImage(Route):
    shows = {"get": shapes.ONE_IMAGE, "delete": NOTHING}
    versions = before(GONE, "get", "delete")
    policy = {"get": "get_image", "delete": "delete_image"}

    def get(self, image_id: str) -> Response:
        """Show an image."""
        with reading() as session:
            found = images.get(session, context.caller(), image_id)
        return answer({"image": _whole(found, context.base_url())})

    def delete(self, image_id: str) -> Response:
        """Delete an image."""
        remove(image_id)
        return nothing()
