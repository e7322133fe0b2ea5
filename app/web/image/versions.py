"""Image's discovery documents."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_restx import Namespace

from app.web import context
from app.web.answers import answer
from app.web.api import Route
from app.web.shapes import images as shapes

ns = Namespace("image", "Images (Glance v2)", path="/image")
_VERSIONS = ("v2.9", "v2.7", "v2.6", "v2.5", "v2.4", "v2.3", "v2.2", "v2.1", "v2.0")


def _document() -> dict[str, Any]:
    href = f"{context.base_url()}/image/v2/"
    return {
        "versions": [
            {
                "id": id_,
                "status": "CURRENT" if id_ == _VERSIONS[0] else "SUPPORTED",
                "links": [{"rel": "self", "href": href}],
            }
            for id_ in _VERSIONS
        ]
    }


@ns.route("")
class Versions(Route):
    public = True
    answers = {"get": (300,)}

    @ns.doc(security=[])
    def get(self) -> Response:
        """List the versions of Image."""
        return answer(_document(), 300)


@ns.route("/versions", "/v2")
class Version2(Route):
    shows = {"get": shapes.VERSIONS}
    public = True

    @ns.doc(security=[])
    def get(self) -> Response:
        """Show the versions of Image."""
        return answer(_document())
