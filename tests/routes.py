"""All routes of the application, with bodies that their schemas allow: for generated tests."""

from __future__ import annotations

import copy
import functools
import re
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from flask import Flask
from hypothesis import Phase, find, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from app.web.compute.actions import ACTIONS
from app.web.filters import SERVICES
from app.web.microversions import MAX

Json = dict[str, Any]
ALL, KNOWN, NEEDED = 2, 1, 0
_WRITES = frozenset({"POST", "PUT", "PATCH", "DELETE"})


@dataclass(frozen=True)
class Endpoint:
    """One method of one route; `schema` is its documented body's, `label` tells variants apart."""

    method: str
    path: str
    view: Any
    schema: Json | None = None
    label: str = ""

    @property
    def arguments(self) -> tuple[str, ...]:
        """The names of what varies in the path, in order."""
        return tuple(re.findall(r"<(?:\w+:)?(\w+)>", self.path))

    @property
    def is_public(self) -> bool:
        """Whether it needs no token."""
        return self.view.public or self.method in self.view.public_methods

    @property
    def writes(self) -> bool:
        """Whether its method is one that changes things."""
        return self.method in _WRITES

    @property
    def media_type(self) -> str:
        """What its body is sent as."""
        doc = getattr(getattr(self.view, self.method.lower()), "__apidoc__", {})
        return str(doc.get("consumes", ["application/json"])[0])

    def at(self, values: Mapping[str, str]) -> str:
        """The path with its arguments filled in."""
        return re.sub(r"<(?:\w+:)?(\w+)>", lambda found: values[found[1]], self.path)

    def __str__(self) -> str:
        return f"{self.method} {self.path} {self.label}".strip()


def endpoints(app: Flask) -> list[Endpoint]:
    """Every method of every route of a service; server actions one by one.

    Schemas are those of the newest microversion.
    """
    found: list[Endpoint] = []
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = getattr(app.view_functions[rule.endpoint], "view_class", None)
        if view is None or rule.rule.split("/")[1] not in SERVICES:
            continue
        for method in sorted(view.methods):
            plain = Endpoint(method, rule.rule, view, _documented(view, method))
            if rule.rule.endswith("/servers/<server_id>/action"):
                found += [_action(plain, name) for name in sorted(ACTIONS)]
            else:
                found.append(plain)
    return found


def _documented(view: Any, method: str) -> Json | None:
    doc = getattr(getattr(view, method.lower()), "__apidoc__", {})
    models = doc.get("expect", [])
    return None if not models else models[0]._schema  # RESTX shows it nowhere else


def _action(plain: Endpoint, name: str) -> Endpoint:
    schema = ACTIONS[name][1]
    chosen = schema(MAX) if callable(schema) else schema
    return Endpoint(plain.method, plain.path, plain.view, chosen.schema, name)


def examples(schema: Json, words: Mapping[str, Any] | None = None) -> Iterator[Any]:
    """Bodies that `schema` allows: with all it knows, with what it must have and `words` knows,
    with no more than it must have.

    Where an object takes one property only, one body for each. `words` has values by name.
    """
    seen: list[Any] = []
    for made in _variants(schema, words or {}):
        if made not in seen and Draft202012Validator(schema).is_valid(made):
            seen.append(made)
            yield made


def _variants(schema: Json, words: Mapping[str, Any]) -> Iterator[Any]:
    for much in (ALL, KNOWN, NEEDED):
        made = _example(schema, words, much)
        if schema.get("maxProperties") == 1 and len(schema.get("properties", {})) > 1:
            for name, part in schema["properties"].items():
                yield {name: _example(part, words, much)}
        else:
            yield made


def _example(schema: Json, words: Mapping[str, Any], much: int) -> Any:
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    for several in ("anyOf", "oneOf", "allOf"):
        if several in schema:
            rest = {key: value for key, value in schema.items() if key != several}
            return _example({**rest, **schema[several][0]}, words, much)
    kind = schema.get("type", "object" if "properties" in schema else "string")
    if isinstance(kind, list):
        kind = next(one for one in kind if one != "null")
    return _MAKE[kind](schema, words, much)


def _object(schema: Json, words: Mapping[str, Any], much: int) -> Json:
    known = schema.get("properties", {})
    needed = schema.get("required", [])
    names = [name for name in known if much == ALL or name in needed or (much and name in words)]
    if schema.get("maxProperties") == 1:
        names = (needed or list(known))[:1]
    made = {name: _named(name, known[name], words, much) for name in names}
    other = schema.get("additionalProperties")
    if isinstance(other, dict) and (much == ALL or schema.get("minProperties", 0) > len(made)):
        made.setdefault("made-up", _example(other, words, much))
    for pattern, part in schema.get("patternProperties", {}).items():
        made.setdefault(_matching(pattern), _example(part, words, much))
    return made


def _named(name: str, schema: Json, words: Mapping[str, Any], much: int) -> Any:
    if name in words and Draft202012Validator(schema).is_valid(words[name]):
        return copy.deepcopy(words[name])
    return _example(schema, words, much)


def _array(schema: Json, words: Mapping[str, Any], much: int) -> list[Any]:
    count = max(schema.get("minItems", 0), 1 if much == ALL and schema.get("maxItems", 1) else 0)
    return [_example(schema.get("items", {}), words, much) for _ in range(count)]


def _string(schema: Json, words: Mapping[str, Any], much: int) -> str:
    made = _matching(schema["pattern"]) if "pattern" in schema else "made-up"
    short = schema.get("minLength", 0) - len(made)
    return (made + "0" * max(0, short))[: schema.get("maxLength", 1000)]


def _integer(schema: Json, words: Mapping[str, Any], much: int) -> int:
    return int(max(schema.get("minimum", 1), min(1, schema.get("maximum", 1))))


_MAKE: dict[str, Any] = {
    "object": _object,
    "array": _array,
    "string": _string,
    "integer": _integer,
    "number": _integer,
    "boolean": lambda schema, words, much: True,
    "null": lambda schema, words, much: None,
}


_USUAL = ("0", "00", "/made-up", "10.1.1.1", "/10.1.1.0", str(uuid.UUID(int=0)), "http://made-up")


@functools.cache
def _matching(pattern: str) -> str:
    for text in _USUAL:  # Hypothesis takes its time
        if re.search(pattern, text):
            return text
    once = settings(
        database=None, deadline=None, max_examples=200, phases=(Phase.generate, Phase.shrink)
    )
    return find(st.from_regex(pattern), lambda text: "\n" not in text, settings=once)


def places(body: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values in `body`, itself first."""
    yield at
    if isinstance(body, dict):
        for name, value in body.items():
            yield from places(value, (*at, name))
    elif isinstance(body, list):
        for number, value in enumerate(body):
            yield from places(value, (*at, number))


def changed(body: Any, at: tuple[Any, ...], value: Any) -> Any:
    """A copy of `body` with `value` at the path `at`."""
    if not at:
        return value
    made = copy.deepcopy(body)
    inner = made
    for step in at[:-1]:
        inner = inner[step]
    inner[at[-1]] = value
    return made
