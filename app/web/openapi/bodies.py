"""Bodies: the very schemas that check requests, and the shapes of answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from werkzeug.http import HTTP_STATUS_CODES

from app.web.body import Schema, only
from app.web.compute.actions import ACTIONS, ANSWERS, VERSIONS, Range, ServerAction
from app.web.extending.installed import schema_of
from app.web.extending.parts import Action
from app.web.microversions import shown

Json = dict[str, Any]
JSON = "application/json"
_TEXT: Json = {"type": "string"}
_ANY: Json = {"type": "object"}
_NUMBERED = only({"code": {"type": "integer"}, "message": _TEXT}, {"retryAfter": _TEXT})
_PROBLEM = ("type", "title", "detail", "code", "request_id")
ERRORS: Mapping[str, Json] = {
    "ComputeError": {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": _NUMBERED,
    },
    "IdentityError": only(
        {"error": only({"code": {"type": "integer"}, "title": _TEXT, "message": _TEXT})}
    ),
    "ImageError": only({"code": _TEXT, "title": _TEXT, "message": _TEXT}),
    "NetworkError": only(
        {"NeutronError": only(dict.fromkeys(("type", "message", "detail"), _TEXT))}
    ),
    "Problem": only({**dict.fromkeys(_PROBLEM, _TEXT), "status": {"type": "integer"}}),
}


class Refusals:
    """Refusals in the shapes of their services, each told once."""

    def __init__(self) -> None:
        self.responses: dict[str, Json] = {}

    def response(self, service: str, status: int) -> Json:
        """A reference to how the service refuses with that status."""
        shape = service if f"{service.title()}Error" in ERRORS else "other"
        name = f"{shape}.{status}"
        told = {"description": HTTP_STATUS_CODES[status], "content": _error_content(shape)}
        self.responses.setdefault(name, told)
        return {"$ref": f"#/components/responses/{name}"}


def _error_content(shape: str) -> Json:
    if shape == "other":
        return {"application/problem+json": {"schema": _ref("Problem")}}
    content: Json = {JSON: {"schema": _ref(f"{shape.title()}Error")}}
    if shape == "image":
        content |= {kind: {"schema": _TEXT} for kind in ("text/plain", "text/html")}
    return content


def response(doc: Mapping[str, Any], status: int, path: str, shown: Json | None = _ANY) -> Json:
    """An answer that is no refusal; `shown` is the schema of its JSON, None when it has no body."""
    made: Json = {"description": HTTP_STATUS_CODES[status]}
    if status in (204, 304) or shown is None:
        return made
    kinds = doc.get("produces", ["text/plain"] if path == "/metrics" else [JSON])
    content = {kind: {"schema": shown if kind == JSON else _TEXT} for kind in kinds}
    return made | {"content": content}


class Bodies:
    """Requests' bodies by name, as they are collected from the routes.

    `added`: other packages' server actions.
    """

    def __init__(self, added: Mapping[str, Action]) -> None:
        self._added = added
        self.schemas: dict[str, Json] = {}

    def request(self, view: Any, doc: Mapping[str, Any], service: str) -> Json | None:
        """The `requestBody` of an operation, None when it takes none."""
        kinds = doc.get("consumes", [JSON])
        if view is ServerAction:
            return _body({"oneOf": self._actions()}, kinds)
        models = doc.get("expect", [])
        if models:
            model = models[0]
            return _body(self.kept(f"{service}.{model.name}", model._schema), kinds)
        if "consumes" in doc:
            return _body({}, kinds)
        return None

    def _actions(self) -> list[Json]:
        """A branch for each server action, in the form of its newest version."""
        found = []
        for name, (_, schema, perform) in sorted(ACTIONS.items()):
            since, until = VERSIONS[name]
            chosen = schema if isinstance(schema, Schema) else schema(until)
            found.append(self._action(chosen, perform, (since, until), ANSWERS[name]))
        for one in self._added.values():
            versions = (one.since, one.until)
            found.append(self._action(schema_of(one), one.perform, versions, (200, 202)))
        return found

    def _action(
        self, schema: Schema, perform: Any, versions: Range, answers: tuple[int, ...]
    ) -> Json:
        (name,) = schema.schema["properties"]
        about = {
            "title": name,
            "description": " ".join((perform.__doc__ or "").split()),
            "x-since": shown(versions[0]),
            "x-until": shown(versions[1]),
            "x-answers": list(answers),
        }
        return self.kept(f"action.{name.replace(':', '.')}", {**about, **schema.schema})

    def kept(self, name: str, schema: Json) -> Json:
        """Keep a schema under that name, or one like it; a reference to it."""
        free = name
        while self.schemas.setdefault(free, schema) != schema:
            free += "_"
        return _ref(free)


def _body(schema: Json, kinds: list[str]) -> Json:
    content = {kind: {"schema": schema} if schema else {} for kind in kinds}
    return {"required": True, "content": content}


def _ref(name: str) -> Json:
    return {"$ref": f"#/components/schemas/{name}"}
