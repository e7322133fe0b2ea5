"""Compute's discovery documents."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_restx import Namespace

from app.web import context, microversions
from app.web.answers import answer
from app.web.api import Route
from app.web.shapes import compute as shapes

ns = Namespace("compute", "Servers and what they need (Nova v2.1)", path="/compute")


def _version(id_: str, status: str, newest: str, oldest: str) -> dict[str, Any]:
    return {
        "id": id_,
        "status": status,
        "version": newest,
        "min_version": oldest,
        "updated": "2013-07-23T11:33:21Z" if oldest else "2011-01-21T11:33:21Z",
        "links": [{"rel": "self", "href": f"{context.base_url()}/compute/{id_.split('.0')[0]}/"}],
    }


def _v2() -> dict[str, Any]:
    return _version("v2.0", "SUPPORTED", "", "")


def _v21() -> dict[str, Any]:
    newest, oldest = microversions.shown(microversions.MAX), microversions.shown(microversions.MIN)
    return _version("v2.1", "CURRENT", newest, oldest)


def _with_media_type(version: dict[str, Any], kind: str) -> dict[str, Any]:
    media = {"base": "application/json", "type": f"application/vnd.openstack.compute+json;{kind}"}
    return {"version": {**version, "media-types": [media]}}


@ns.route("")
class Versions(Route):
    shows = {"get": shapes.VERSIONS}
    public = True

    @ns.doc(security=[])
    def get(self) -> Response:
        """List the versions of Compute."""
        return answer({"versions": [_v2(), _v21()]})


@ns.route("/v2")
class Version2(Route):
    shows = {"get": shapes.VERSION}
    public = True

    @ns.doc(security=[])
    def get(self) -> Response:
        """Show the version without microversions."""
        return answer(_with_media_type(_v2(), "version=2"))


@ns.route("/v2.1")
class Version21(Route):
    shows = {"get": shapes.VERSION}
    public = True

    @ns.doc(security=[])
    def get(self) -> Response:
        """Show the version with microversions, and their range."""
        return answer(_with_media_type(_v21(), "version=2.1"))
