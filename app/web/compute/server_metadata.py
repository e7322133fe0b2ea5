"""Servers' metadata: all of it, and item by item."""

from __future__ import annotations

from flask import Response
from sqlalchemy.orm import Session

from app.errors import Invalid
from app.store import server_listing, server_metadata
from app.store.database import reading, transaction
from app.web import context
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.compute import schemas
from app.web.compute.versions import ns
from app.web.shapes import in_servers as shapes
from app.web.shapes.parts import NOTHING

_RULE = "os_compute_api:server-metadata:"


@ns.route("/v2.1/servers/<server_id>/metadata")
class ServerMetadata(Route):
    shows = {"get": shapes.METADATA, "post": shapes.METADATA, "put": shapes.METADATA}
    policy = {"get": f"{_RULE}index", "post": f"{_RULE}create", "put": f"{_RULE}update_all"}

    def get(self, server_id: str) -> Response:
        """Show a server's metadata."""
        with reading() as session:
            found = server_listing.get(session, context.caller(), server_id)
        return answer({"metadata": found.meta})

    @documented(ns, schemas.METADATA_ITEMS)
    def post(self, server_id: str) -> Response:
        """Add to a server's metadata, or change items of it."""
        given = body(schemas.METADATA_ITEMS)["metadata"]

        def work(session: Session) -> Response:
            return answer(
                {"metadata": server_metadata.merge(session, context.caller(), server_id, given)}
            )

        return once(work)

    @documented(ns, schemas.METADATA_ITEMS)
    def put(self, server_id: str) -> Response:
        """Put other metadata in the place of a server's."""
        given = body(schemas.METADATA_ITEMS)["metadata"]
        with transaction() as session:
            kept = server_metadata.replace(session, context.caller(), server_id, given)
        return answer({"metadata": kept})


@ns.route("/v2.1/servers/<server_id>/metadata/<key>")
class ServerMetadataItem(Route):
    shows = {"get": shapes.ONE_ITEM, "put": shapes.ONE_ITEM, "delete": NOTHING}
    policy = {"get": f"{_RULE}show", "put": f"{_RULE}update", "delete": f"{_RULE}delete"}

    def get(self, server_id: str, key: str) -> Response:
        """Show one item of a server's metadata."""
        with reading() as session:
            found = server_listing.get(session, context.caller(), server_id)
        return answer({"meta": {key: server_metadata.item(found.meta, key)}})

    @documented(ns, schemas.METADATA_ITEM)
    def put(self, server_id: str, key: str) -> Response:
        """Add or change one item of a server's metadata."""
        given = body(schemas.METADATA_ITEM)["meta"]
        if key not in given:
            raise Invalid("Invalid input for field meta: it is not the item that the path names")
        with transaction() as session:
            server_metadata.merge(session, context.caller(), server_id, given)
        return answer({"meta": given})

    def delete(self, server_id: str, key: str) -> Response:
        """Remove one item of a server's metadata."""
        with transaction() as session:
            server_metadata.remove(session, context.caller(), server_id, key)
        return nothing()
