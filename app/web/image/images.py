"""Images: their records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

from flask import Response, request
from sqlalchemy.orm import Session

from app.errors import Invalid
from app.models import Image, new_id
from app.store import images
from app.store.database import reading
from app.store.image_members import STATUSES
from app.store.paging import Page
from app.web import context, query, times
from app.web.accepting import once
from app.web.answers import answer
from app.web.api import Route, documented
from app.web.body import body
from app.web.image import schemas, views
from app.web.image.versions import ns
from app.web.keystone import meeting
from app.web.policy import require
from app.web.shapes import images as shapes

_FILTERS = (
    "limit",
    "marker",
    "sort_key",
    "sort_dir",
    "sort",
    "visibility",
    "protected",
    "tag",
    "os_hidden",
    "size_min",
    "size_max",
    "min_disk",
    "min_ram",
    "member_status",
    "created_at",
    "updated_at",
)
_PARAMS = {
    "name": "exactly this name; in:a,b for several, as for the other columns",
    "status": "queued, saving, uploading, active or deactivated",
    "visibility": "public, private, shared, community or all",
    "owner": "this project's",
    "member_status": "of images shared with the caller: accepted (default), pending, rejected, all",
    "tag": "with this tag; several times for several",
    "created_at": "a time, or gt:, gte:, lt:, lte:, neq: and a time; updated_at likewise",
    "sort_key": "created_at (default), name, status, size …",
    "sort_dir": "desc (default) or asc",
    "limit": "at most 1000",
    "marker": "the last id of the page before",
}

VISIBILITIES = {"public": "publicize_image", "community": "communitize_image"}
"""The rules that let make images visible so far."""


@ns.route("/v2/images")
class Images(Route):
    shows = {"get": shapes.IMAGES, "post": shapes.IMAGE}
    policy = {"get": "get_images", "post": "add_image"}
    answers = {"post": (201,)}
    asks = {"post": tuple(VISIBILITIES.values())}

    @ns.doc(params=_PARAMS)
    def get(self) -> Response:
        """List images; a name that is no filter of ours is looked for among custom properties."""
        wanted = _wanted()
        with reading() as session:
            found = images.page(session, context.caller(), wanted)
        shown: dict[str, object] = {
            "images": [views.image(row) for row in found],
            "first": "/v2/images",
            "schema": "/v2/schemas/images",
        }
        if found and len(found) == wanted.page.limit:
            kept = [(k, v) for k, v in request.args.items(multi=True) if k != "marker"]
            shown["next"] = "/v2/images?" + urlencode([*kept, ("marker", found[-1].id)])
        return answer(shown)

    @documented(ns, schemas.IMAGE)
    def post(self) -> Response:
        """Make an image's record; its data comes with PUT on its file."""
        row = _new(body(schemas.IMAGE))
        meeting.project(row.owner)

        def work(session: Session) -> Response:
            made = images.add(session, row)
            location = f"{context.base_url()}/image/v2/images/{made.id}"
            methods = {"OpenStack-image-import-methods": ",".join(schemas.IMPORT_METHODS)}
            return answer(views.image(made), 201, {"Location": location, **methods})

        return once(work)


def _wanted() -> images.ImageQuery:
    args = request.args
    key, direction = _sorting()
    return images.ImageQuery(
        columns={
            name: _values(args[name]) for name in images.COLUMNS if args.get(name) is not None
        },
        properties={
            name: value
            for name, value in args.items()
            if name not in images.COLUMNS and name not in _FILTERS
        },
        tags=tuple(args.getlist("tag")),
        visibility=_visibility(args.get("visibility")),
        member_status=query.choice("member_status", "accepted", (*STATUSES, "all")),
        protected=query.flag("protected"),
        hidden=bool(query.flag("os_hidden")),
        size_min=query.number("size_min", 0, high=2**62) if "size_min" in args else None,
        size_max=query.number("size_max", 0, high=2**62) if "size_max" in args else None,
        min_disk=query.number("min_disk", 0) if "min_disk" in args else None,
        min_ram=query.number("min_ram", 0) if "min_ram" in args else None,
        times=tuple(_moments("created_at")) + tuple(_moments("updated_at")),
        sort_key=key,
        page=Page(max(1, query.limit()), args.get("marker"), direction == "desc"),
    )


def _moments(name: str) -> Iterator[images.Moment]:
    """`gt:2026-01-02T03:04:05Z` and the like; a time alone means that time."""
    for text in request.args.getlist(name):
        word, _, time = text.partition(":")
        if word not in images.COMPARISONS:
            word, time = "eq", text
        at = times.parse(time, f"Invalid input for query parameter {name}")
        yield images.Moment(name, word, at)


def _sorting() -> tuple[str, str]:
    combined = request.args.get("sort", "").split(",")[0]
    name, _, direction = combined.partition(":")
    key = name or query.choice("sort_key", "created_at", images.SORT_KEYS)
    direction = direction or query.choice("sort_dir", "desc", ("asc", "desc"))
    if key not in images.SORT_KEYS or direction not in ("asc", "desc"):
        raise Invalid(
            f"Invalid input for query parameter sort: {', '.join(images.SORT_KEYS)}, "
            "each with :asc or :desc"
        )
    return key, direction


def _values(text: str) -> tuple[str, ...]:
    if text.startswith("in:"):
        return tuple(part.strip().strip('"') for part in text[3:].split(","))
    return (text,)


def _visibility(text: str | None) -> str | None:
    if text not in (None, "all", "public", "private", "shared", "community"):
        raise Invalid(
            "Invalid input for query parameter visibility: not one of public, private, "
            "shared, community, all"
        )
    return text


def permit_visibility(wanted: str | None) -> None:
    """Raise Forbidden unless the caller may make images visible so far."""
    if rule := VISIBILITIES.get(wanted or ""):
        require(rule)


def _new(wanted: dict[str, Any]) -> Image:
    caller = context.caller()
    for name in sorted(wanted):
        schemas.check_writable(name, new=True)
    permit_visibility(wanted.get("visibility"))
    if wanted.get("owner"):
        require("add_image", project_id=wanted["owner"])
    return Image(
        id=wanted.get("id") or new_id(),
        name=wanted.get("name"),
        owner=wanted.get("owner") or caller.project_id,
        status=images.QUEUED,
        visibility=wanted.get("visibility", "shared"),
        protected=wanted.get("protected", False),
        hidden=wanted.get("os_hidden", False),
        disk_format=wanted.get("disk_format"),
        container_format=wanted.get("container_format"),
        min_disk=wanted.get("min_disk", 0),
        min_ram=wanted.get("min_ram", 0),
        tags=wanted.get("tags", []),
        properties={name: value for name, value in wanted.items() if name not in schemas.OURS},
    )
