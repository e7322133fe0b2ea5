"""Servers' tags, from 2.26."""

from __future__ import annotations

from urllib.parse import quote

from flask import Response

from app.errors import NotFound
from app.store import server_listing, server_tags
from app.store.database import reading, transaction
from app.web import context
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.compute import schemas
from app.web.compute.versions import ns
from app.web.microversions import since
from app.web.shapes import in_servers as shapes
from app.web.shapes.parts import NOTHING

_RULE = "os_compute_api:os-server-tags:"
_SINCE = (2, 26)


@ns.route("/v2.1/servers/<server_id>/tags")
class ServerTags(Route):
    shows = {"get": shapes.TAGS, "put": shapes.TAGS, "delete": NOTHING}
    versions = since(_SINCE, "get", "put", "delete")
    policy = {
        "get": f"{_RULE}index",
        "put": f"{_RULE}update_all",
        "delete": f"{_RULE}delete_all",
    }

    def get(self, server_id: str) -> Response:
        """List a server's tags."""
        return answer({"tags": _of(server_id)})

    @documented(ns, schemas.TAGS)
    def put(self, server_id: str) -> Response:
        """Put other tags in the place of a server's."""
        given = body(schemas.TAGS)["tags"]
        with transaction() as session:
            kept = server_tags.replace(session, context.caller(), server_id, given)
        return answer({"tags": kept})

    def delete(self, server_id: str) -> Response:
        """Remove all tags of a server."""
        with transaction() as session:
            server_tags.replace(session, context.caller(), server_id, ())
        return nothing()


@ns.route("/v2.1/servers/<server_id>/tags/<tag>")
class ServerTag(Route):
    shows = {"get": NOTHING, "put": NOTHING, "delete": NOTHING}
    versions = since(_SINCE, "get", "put", "delete")
    policy = {"get": f"{_RULE}show", "put": f"{_RULE}update", "delete": f"{_RULE}delete"}
    answers = {"get": (204,), "put": (201, 204)}

    def get(self, server_id: str, tag: str) -> Response:
        """Say whether a server has a tag: 204, or 404."""
        if tag not in _of(server_id):
            raise NotFound(server_tags.missing(server_id, tag))
        return nothing()

    def put(self, server_id: str, tag: str) -> Response:
        """Give a server a tag: 201, or 204 when it had it."""
        schemas.ONE_TAG.check(tag)
        with transaction() as session:
            added = server_tags.add(session, context.caller(), server_id, tag)
        path = f"/compute/v2.1/servers/{server_id}/tags/{quote(tag, safe='')}"
        return nothing(201 if added else 204, {"Location": f"{context.base_url()}{path}"})

    def delete(self, server_id: str, tag: str) -> Response:
        """Remove one tag of a server."""
        with transaction() as session:
            server_tags.remove(session, context.caller(), server_id, tag)
        return nothing()


def _of(server_id: str) -> list[str]:
    with reading() as session:
        server_listing.get(session, context.caller(), server_id)
        return server_tags.by_server(session, [server_id]).get(server_id, [])
