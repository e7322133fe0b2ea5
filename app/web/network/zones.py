"""Availability zones, as Network sees them: its networks are on every host."""

from __future__ import annotations

from flask import Response

from app.store import server_listing
from app.store.database import reading
from app.web.answers import answer
from app.web.api import Route
from app.web.network.versions import ns
from app.web.shapes import network as shapes


@ns.route("/v2.0/availability_zones")
class Zones(Route):
    shows = {"get": shapes.ZONES}
    policy = {"get": "get_availability_zone"}

    def get(self) -> Response:
        """List the zones that have hosts."""
        with reading() as session:
            names = sorted(server_listing.zones(session))
        shown = [{"name": name, "resource": "network", "state": "available"} for name in names]
        return answer({"availability_zones": shown})
