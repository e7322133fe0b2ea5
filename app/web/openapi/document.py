"""The document: every operation of every route."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from typing import Any

from flask import Flask

from app.web.api import Route
from app.web.extending.loading import Extensions
from app.web.microversions import MAX, MIN, shown
from app.web.openapi import bodies, parameters, statuses
from app.web.shapes.parts import Sight

Json = dict[str, Any]
_METHODS = ("get", "post", "put", "patch", "delete")
_TOKEN = {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
_ABOUT = (
    "An OpenStack-compatible compute cloud. Get a token with POST /identity/v3/auth/tokens and "
    "send it as X-Auth-Token. Bodies are described by the schemas that check them."
)


def document(app: Flask) -> Json:
    """The API of `app` as an OpenAPI 3.1 document: JSON, with no part that depends on a caller."""
    made = _Operations(app.extensions["novella"].extensions)
    paths = {
        re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule): made.item(view, rule)
        for rule, view in routes(app)
    }
    return {
        "openapi": "3.1.0",
        "info": {"title": "Novella", "version": "1", "description": _ABOUT},
        "servers": [{"url": "/"}],
        "security": [{"token": []}],
        "tags": [{"name": name} for name in sorted({path.split("/")[1] for path in paths})],
        "paths": paths,
        "components": {
            "securitySchemes": {
                "token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"}
            },
            "parameters": parameters.COMMON,
            "responses": dict(sorted(made.refusals.responses.items())),
            "schemas": {**bodies.ERRORS, **dict(sorted(made.bodies.schemas.items()))},
        },
    }


def routes(app: Flask) -> Iterator[tuple[str, type[Route]]]:
    """Every rule with its resource, in the order of paths; but for the documentation's own,
    and for Identity's where a Keystone has its place."""
    own_identity = app.extensions["novella"].settings.auth != "keystone"
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = getattr(app.view_functions[rule.endpoint], "view_class", None)
        if not isinstance(view, type) or not issubclass(view, Route):
            continue
        if own_identity or view.public or not rule.rule.startswith("/identity"):
            yield rule.rule, view


def _versions(view: type[Route], method: str) -> Json:
    """The first and the last microversion that has an operation, as its route guards itself."""
    first, last = view.versions.get(method, (MIN, MAX))
    told = [f"From microversion {shown(first)} on."] if first > MIN else []
    told += [f"Until microversion {shown(last)}."] if last < MAX else []
    made: Json = {"x-since": shown(first), "x-until": shown(last)}
    return made | ({"description": " ".join(told)} if told else {})


class _Operations:
    """Operations, and what several of them refer to."""

    def __init__(self, added: Extensions) -> None:
        self.bodies, self.refusals = bodies.Bodies(added.actions), bodies.Refusals()
        self._fields = {name: dict(field.schema) for name, field in added.fields.items()}

    def item(self, view: type[Route], rule: str) -> Json:
        """The operations of one path."""
        methods = [method for method in _METHODS if method.upper() in view.methods]
        return {method: self._operation(view, method, rule) for method in methods}

    def _operation(self, view: type[Route], method: str, rule: str) -> Json:
        function, service = getattr(view, method), rule.split("/")[1]
        doc = getattr(function, "__apidoc__", {})
        body = self.bodies.request(view, doc, service)
        public = statuses.is_public(view, method)
        makes_repeats_safe = method == "post" and not view.keyless and not public
        made: Json = {
            "operationId": f"{method}_{re.sub(r'[^a-zA-Z0-9]+', '_', rule).strip('_')}",
            "tags": [service],
            "summary": " ".join((inspect.getdoc(function) or "").split()),
            "parameters": [
                *parameters.in_path(rule),
                *parameters.documented(doc.get("params", {})),
                *parameters.common(service, makes_repeats_safe),
            ],
            "responses": self._responses(view, method, rule),
        }
        made |= {} if body is None else {"requestBody": body}
        made |= _versions(view, method) if rule.startswith("/compute/v2.1/") else {}
        return made | ({"security": []} if public else {})

    def _shown(self, view: type[Route], method: str) -> Json | None:
        """What a successful answer is, as far as the route tells; None when it has no body."""
        shape = view.shows.get(method, {"type": "object"})
        _, last = view.versions.get(method, (MIN, MAX))
        seen: Json | None = Sight(last, self._fields, self._keep).of(shape)
        return seen

    def _keep(self, name: str, schema: Json) -> Json:
        return self.bodies.kept(f"answer.{name}", schema)

    def _responses(self, view: type[Route], method: str, rule: str) -> Json:
        doc, service = getattr(getattr(view, method), "__apidoc__", {}), rule.split("/")[1]
        return {
            str(status): self.refusals.response(service, status)
            if status >= 400
            else bodies.response(doc, status, rule, self._shown(view, method))
            for status in sorted(statuses.of(view, method, rule))
        }
