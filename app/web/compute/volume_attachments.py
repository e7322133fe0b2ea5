"""Volumes of servers. There are no volumes here: nothing is attached, and nothing can be."""

from __future__ import annotations

from flask import Response

from app.errors import NotFound
from app.store import server_listing
from app.store.database import reading
from app.web import context, query
from app.web.answers import answer
from app.web.api import Route, documented
from app.web.body import UUID, Schema, body, only
from app.web.compute.ranges import known_parameters
from app.web.compute.versions import ns
from app.web.shapes import in_servers as shapes

_RULE = "os_compute_api:os-volumes-attachments:"
_TEXT = {"type": ["string", "null"], "maxLength": 255}
ATTACHMENT = Schema(
    "VolumeAttachment",
    only(
        {
            "volumeAttachment": only(
                {"volumeId": UUID},
                {"device": _TEXT, "tag": _TEXT, "delete_on_termination": {"type": "boolean"}},
            )
        }
    ),
)
SWAP = Schema(
    "VolumeSwap",
    only(
        {
            "volumeAttachment": only(
                {"volumeId": UUID},
                {
                    "id": _TEXT,
                    "serverId": _TEXT,
                    "device": _TEXT,
                    "tag": _TEXT,
                    "delete_on_termination": {"type": "boolean"},
                },
            )
        }
    ),
)


def _check(server_id: str) -> None:
    with reading() as session:
        server_listing.get(session, context.caller(), server_id)


def _no_volume(volume_id: str) -> NotFound:
    return NotFound(f"Volume {volume_id[:64]} could not be found: there are no volumes here.")


@ns.route("/v2.1/servers/<server_id>/os-volume_attachments")
class VolumeAttachments(Route):
    shows = {"get": shapes.VOLUMES}
    policy = {"get": f"{_RULE}index", "post": f"{_RULE}create"}
    answers = {"post": ()}
    keyless = "it never does anything"

    @ns.doc(params={"limit": "at most 1000", "offset": "how many to leave out"})
    def get(self, server_id: str) -> Response:
        """List a server's volumes: none."""
        known_parameters("limit", "offset")
        query.limit()
        query.number("offset", 0)
        _check(server_id)
        return answer({"volumeAttachments": []})

    @documented(ns, ATTACHMENT)
    def post(self, server_id: str) -> Response:
        """Attach a volume: 404, for there are none."""
        wanted = body(ATTACHMENT)["volumeAttachment"]
        _check(server_id)
        raise _no_volume(wanted["volumeId"])


@ns.route("/v2.1/servers/<server_id>/os-volume_attachments/<volume_id>")
class VolumeAttachment(Route):
    policy = {"get": f"{_RULE}show", "put": f"{_RULE}update", "delete": f"{_RULE}delete"}
    answers = {"get": (), "put": (), "delete": ()}

    def get(self, server_id: str, volume_id: str) -> Response:
        """Show an attached volume: 404, for there are none."""
        _check(server_id)
        raise _no_volume(volume_id)

    @documented(ns, SWAP)
    def put(self, server_id: str, volume_id: str) -> Response:
        """Exchange an attached volume: 404, for there are none."""
        body(SWAP)
        _check(server_id)
        raise _no_volume(volume_id)

    def delete(self, server_id: str, volume_id: str) -> Response:
        """Detach a volume: 404, for there are none."""
        _check(server_id)
        raise _no_volume(volume_id)
