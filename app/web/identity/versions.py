"""Identity's discovery documents."""

from __future__ import annotations

from flask import Response
from flask_restx import Namespace

from app.web import context
from app.web.answers import answer
from app.web.api import Route
from app.web.identity import views
from app.web.shapes import identity as shapes

ns = Namespace("identity", "Tokens and catalog (Keystone v3)", path="/identity")


@ns.route("")
class Versions(Route):
    public = True
    answers = {"get": (300,)}

    @ns.doc(security=[])
    def get(self) -> Response:
        """List the versions of Identity."""
        return answer({"versions": {"values": [views.version(context.identity_url())]}}, 300)


@ns.route("/v3")
class Version3(Route):
    shows = {"get": shapes.VERSION}
    public = True

    @ns.doc(security=[])
    def get(self) -> Response:
        """Show Identity version 3."""
        return answer({"version": views.version(context.identity_url())})
