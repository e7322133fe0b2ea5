"""The encrypted password that a guest tells its cloud; ours have no way to, so there is none."""

from __future__ import annotations

from flask import Response

from app.store import server_listing
from app.store.database import reading
from app.web import context
from app.web.answers import answer, nothing
from app.web.api import Route
from app.web.compute.versions import ns
from app.web.shapes import in_servers as shapes
from app.web.shapes.parts import NOTHING


@ns.route("/v2.1/servers/<server_id>/os-server-password")
class ServerPassword(Route):
    shows = {"get": shapes.PASSWORD, "delete": NOTHING}
    policy = {
        "get": "os_compute_api:os-server-password:show",
        "delete": "os_compute_api:os-server-password:clear",
    }

    def get(self, server_id: str) -> Response:
        """Show the password that the guest has told: none."""
        _check(server_id)
        return answer({"password": ""})

    def delete(self, server_id: str) -> Response:
        """Forget the password that the guest has told."""
        _check(server_id)
        return nothing()


def _check(server_id: str) -> None:
    with reading() as session:
        server_listing.get(session, context.caller(), server_id)
