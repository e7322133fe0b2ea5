"""The Flask-RESTX side: routing, Swagger, and errors that leave in our own shapes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, request
from flask_restx import Api, Namespace, Resource

from app.errors import NotFound
from app.web import accepting, context, errors
from app.web.answers import answer
from app.web.body import Schema
from app.web.microversions import Range
from app.web.shapes.parts import Part


class NovellaApi(Api):
    """RESTX routes and documents; what goes wrong is answered by `app.web.errors`."""

    def handle_error(self, e: Exception) -> Response:
        """Every error of a resource, in its service's shape."""
        return errors.handle(e)

    def render_root(self) -> Response:
        """Where the services are."""
        return answer(
            {"services": ["/identity", "/compute", "/image", "/network", "/v1"], "docs": "/docs"}
        )


class Route(Resource):
    """A resource; it needs a token unless `public`, or the method is in `public_methods`.

    `streams_body`: the body limit does not hold, the resource sees to its own.
    `takes_image_token`: a Bearer token may stand for the caller; the resource checks it.
    `keyless`: why its POST takes no Idempotency-Key; all others answer through `accepting`.
    `policy`: the rule for each method that needs a token (`app.web.policy`); a test sees to it.
    `versions`: by method, the first and last microversion of Compute that has it, unless all do.
    `answers`: by method, its statuses where they are not the usual ones, and those that no other
    route of the kind has; none when it only refuses. What `app.web.openapi` tells.
    `needs`: by method, rules that must let the request in besides, those of the service that it
    is in truth about.
    `shows`: by method, the shape of its successful answers (`app.web.shapes`), NOTHING for none.
    `asks`: by method, the rules that its handler asks besides; tests see to that, too.
    `extended`: the methods that show servers whole, with the fields that other packages add.
    """

    public = False
    public_methods: frozenset[str] = frozenset()
    streams_body = False
    takes_image_token = False
    keyless = ""
    policy: Mapping[str, str] = {}
    versions: Mapping[str, Range] = {}
    answers: Mapping[str, tuple[int, ...]] = {}
    needs: Mapping[str, Sequence[str]] = {}
    shows: Mapping[str, Part] = {}
    asks: Mapping[str, Sequence[str]] = {}
    extended: Sequence[str] = ()

    def dispatch_request(self, *args: Any, **kwargs: Any) -> Any:
        """The resource's method; a POST that was answered under its key gets that answer."""
        told = None if self.keyless or request.method != "POST" else accepting.earlier()
        if told is not None:
            return told
        self._check_version()
        return super().dispatch_request(*args, **kwargs)

    def _check_version(self) -> None:
        """Raises NotFound where the request's microversion does not have the method."""
        method = "get" if request.method == "HEAD" else request.method.lower()
        if method in self.versions:
            first, last = self.versions[method]
            if not first <= context.version() <= last:
                raise NotFound("The resource could not be found.")


def make_api(namespaces: list[Namespace]) -> NovellaApi:
    """An Api with all routes, not yet bound to an application."""
    api = NovellaApi(
        title="Novella",
        version="1",
        description="An OpenStack-compatible compute cloud. Get a token with "
        "POST /identity/v3/auth/tokens and send it as X-Auth-Token.",
        doc="/docs",
        authorizations={"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}},
        security="token",
        serve_challenge_on_401=False,
    )
    for namespace in namespaces:
        api.add_namespace(namespace)
    return api


def documented(namespace: Namespace, schema: Schema) -> Any:
    """Show `schema` in the documentation as this method's body."""
    return namespace.expect(namespace.schema_model(schema.name, schema.schema), validate=False)
