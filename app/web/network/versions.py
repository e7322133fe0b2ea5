"""Network's discovery documents."""

from __future__ import annotations

from flask import Response
from flask_restx import Namespace

from app.web import context
from app.web.answers import answer
from app.web.api import Route
from app.web.shapes import network as shapes

ns = Namespace("network", "Networks, subnets and ports (Neutron v2.0)", path="/network")
_RESOURCES = (
    "networks",
    "subnets",
    "ports",
    "extensions",
    "quotas",
    "availability_zones",
    "security-groups",
    "security-group-rules",
    "floatingips",
    "routers",
    "agents",
)


@ns.route("")
class Versions(Route):
    shows = {"get": shapes.VERSIONS}
    public = True

    @ns.doc(security=[])
    def get(self) -> Response:
        """List the versions of Network."""
        href = f"{context.base_url()}/network/v2.0/"
        links = [{"rel": "self", "href": href}]
        return answer({"versions": [{"id": "v2.0", "status": "CURRENT", "links": links}]})


@ns.route("/v2.0")
class Version2(Route):
    shows = {"get": shapes.RESOURCES}
    public = True

    @ns.doc(security=[])
    def get(self) -> Response:
        """List the kinds of resources."""
        base = f"{context.base_url()}/network/v2.0"
        shown = [
            {
                "name": name.removesuffix("s"),
                "collection": name,
                "links": [{"rel": "self", "href": f"{base}/{name}"}],
            }
            for name in _RESOURCES
        ]
        return answer({"resources": shown})
