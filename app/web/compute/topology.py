"""A server's NUMA nodes: none, for guests are not laid out by nodes here."""

from __future__ import annotations

from flask import Response

from app.store import server_listing
from app.store.database import reading
from app.web import context
from app.web.answers import answer
from app.web.api import Route
from app.web.compute.versions import ns
from app.web.microversions import since
from app.web.shapes import in_servers as shapes


@ns.route("/v2.1/servers/<server_id>/topology")
class ServerTopology(Route):
    shows = {"get": shapes.TOPOLOGY}
    versions = since((2, 78), "get")
    policy = {"get": "compute:server:topology:index"}

    def get(self, server_id: str) -> Response:
        """Show a server's NUMA nodes and the size of its memory pages."""
        with reading() as session:
            server_listing.get(session, context.caller(), server_id)
        return answer({"nodes": [], "pagesize_kb": None})
