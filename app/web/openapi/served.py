"""`GET /openapi.json`: the document, made at the first request and kept."""

from __future__ import annotations

import hashlib

import orjson
from flask import Flask, Response, current_app, request
from flask_restx import Namespace

from app.web.api import Route
from app.web.openapi.document import document
from app.web.shapes import v1 as shapes

ns = Namespace("openapi", "The API as a document", path="/")
_KEPT = "novella-openapi"


@ns.route("/openapi.json")
class OpenApi(Route):
    shows = {"get": shapes.DOCUMENT}
    public = True
    answers = {"get": (200, 304)}

    @ns.doc(security=[])
    def get(self) -> Response:
        """The whole API as an OpenAPI 3.1 document."""
        app: Flask = current_app._get_current_object()  # type: ignore[attr-defined]
        data = app.extensions.setdefault(_KEPT, b"") or orjson.dumps(document(app))
        app.extensions[_KEPT] = data
        made = Response(data, mimetype="application/json")
        made.set_etag(hashlib.sha256(data).hexdigest()[:32])
        made.headers["Cache-Control"] = "public, max-age=300"
        made.make_conditional(request)
        return made
