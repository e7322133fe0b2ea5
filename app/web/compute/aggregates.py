"""Host aggregates: there are none. Clients ask for them when they show a hypervisor."""

from __future__ import annotations

from flask import Response

from app.web.answers import answer
from app.web.api import Route
from app.web.compute.versions import ns


@ns.route("/v2.1/os-aggregates")
class Aggregates(Route):
    policy = {"get": "os_compute_api:os-aggregates:index"}

    def get(self) -> Response:
        """List host aggregates: none."""
        return answer({"aggregates": []})
