"""Finding what other packages add, and proving it before the first request.

Being installed turns nothing on: the setting `extensions` names the entry points, which stand in
the groups of `GROUPS`.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import SchemaError
from referencing import Registry
from referencing.exceptions import Unresolvable
from referencing.jsonschema import DRAFT202012, SchemaRegistry

from app.config import Settings
from app.errors import Invalid
from app.web.api import Route
from app.web.extending.parts import Action, Field, Resource, Rule
from app.web.policy import INSIDE, RULES, overrides

GROUPS: Mapping[str, type] = {
    "novella.server_actions": Action,
    "novella.resources": Resource,
    "novella.server_fields": Field,
}
_NAME = re.compile(r"[a-z][a-z0-9-]*(:[A-Za-z0-9_-]+)+")
_OURS = frozenset({"compute", "identity", "image", "network", "novella", "os", "os-compute-api"})
_WITH_BODY = ("POST", "PUT", "PATCH")


@dataclass(frozen=True)
class Extensions:
    """What is turned on, by name and path; `rules` are the defaults of its policy."""

    actions: Mapping[str, Action] = field(default_factory=dict)
    routes: Mapping[str, type[Route]] = field(default_factory=dict)
    fields: Mapping[str, Field] = field(default_factory=dict)
    rules: Mapping[str, str] = field(default_factory=dict)


def load(settings: Settings, actions: Collection[str], paths: Iterable[str]) -> Extensions:
    """What the setting `extensions` names, beside the server actions and compute paths there are.

    Raises Invalid, with the entry point's name, for one that is unknown, cannot be imported, is
    none of these parts, or is not as its part must be.
    """
    wanted = list(dict.fromkeys(filter(None, re.split(r"[,\s]+", settings.extensions))))
    found = Extensions(actions={}, routes={}, fields={}, rules={})
    seen, taken = set(), {_shape(path) for path in paths}
    for point in _points() if wanted else ():
        if point.name in wanted:
            seen.add(point.name)
            _Loading(point, found, actions, taken).add()
    if unknown := [name for name in wanted if name not in seen]:
        known = sorted({point.name for point in _points()})
        raise Invalid(
            f"setting extensions: there is no {', '.join(unknown)}; installed packages declare "
            f"{', '.join(known) or 'none'}"
        )
    return found


def _unresolved(schema: dict[str, Any]) -> str | None:
    """A reference in the schema to what is not there; None when each can be followed.

    Nothing is fetched: one that leads elsewhere would be, once for each request.
    """
    whole = DRAFT202012.create_resource(schema)
    registry: SchemaRegistry = Registry().with_resource("", whole).crawl()
    left = [(registry.resolver_with_root(whole), whole)]
    while left:
        resolver, part = left.pop()
        for word in ("$ref", "$dynamicRef"):
            if isinstance(part.contents, Mapping) and word in part.contents:
                try:
                    resolver.lookup(part.contents[word])
                except Unresolvable:
                    return str(part.contents[word])
        left += [(resolver.in_subresource(one), one) for one in part.subresources()]
    return None


def _shape(path: str) -> str:
    """The path without the names of its arguments."""
    return "/".join("<>" if part.startswith("<") else part for part in path.split("/"))


def _points() -> Iterator[importlib.metadata.EntryPoint]:
    found = importlib.metadata.entry_points()  # reads what every package says of itself: once
    for group in GROUPS:
        yield from found.select(group=group)


@dataclass(frozen=True)
class _Loading:
    """One entry point on its way in."""

    point: importlib.metadata.EntryPoint
    found: Any
    actions: Collection[str]
    paths: set[str]

    def add(self) -> None:
        """Load it, prove it, and put it with the others."""
        try:
            part = self.point.load()
        except Exception as error:  # another package's code
            raise self.wrong(f"cannot be loaded: {type(error).__name__}: {error}") from error
        if isinstance(part, Action) and isinstance(part, GROUPS[self.point.group]):
            self._action(part)
        elif isinstance(part, Field) and isinstance(part, GROUPS[self.point.group]):
            self._field(part)
        elif isinstance(part, Resource) and isinstance(part, GROUPS[self.point.group]):
            self._resource(part)
        else:
            raise self.wrong(f"is no {GROUPS[self.point.group].__name__}")

    def wrong(self, what: str) -> Invalid:
        """An error that says whose it is."""
        point = self.point
        return Invalid(f"entry point {point.name!r} of {point.group} ({point.value}) {what}")

    def _action(self, part: Action) -> None:
        self._name(part.name, "an action")
        if part.name in self.actions or part.name in self.found.actions:
            raise self.wrong(f"bears a name that is taken: {part.name!r}")
        self._schema(part.schema)
        self._callable(part.perform, "perform")
        self._rule(part.rule)
        self.found.actions[part.name] = part

    def _field(self, part: Field) -> None:
        self._name(part.name, "a field")
        if part.name in self.found.fields:
            raise self.wrong(f"bears a name that is taken: {part.name!r}")
        self._schema(part.schema)
        self._callable(part.values, "values")
        self._rule(part.rule)
        self.found.fields[part.name] = part

    def _resource(self, part: Resource) -> None:
        for rule in part.rules:
            self._rule(rule)
        for path, view in part.routes.items():
            if not isinstance(path, str) or not re.fullmatch(r"(/[^/]+)+", path):
                raise self.wrong(f"has a path that is none: {path!r}")
            if not (isinstance(view, type) and issubclass(view, Route)):
                raise self.wrong(f"has no Route at {path}")
            if _shape(path) in self.paths:
                raise self.wrong(f"has a path that is taken: {path}")
            self._route(path, view)
            self.paths.add(_shape(path))
            self.found.routes[path] = view

    def _route(self, path: str, view: type[Route]) -> None:
        if view.public or view.public_methods or view.takes_image_token:
            raise self.wrong(f"lets requests in without a token at {path}")
        known = {**RULES, **self.found.rules}
        for method in sorted(view.methods or ()):
            name, where = method.lower(), f"{method} {path}"
            rule, asks = view.policy.get(name), view.asks.get(name, ())
            if rule is None or (rule == INSIDE and not asks):
                raise self.wrong(f"names no policy rule for {where}")
            if unknown := [one for one in (rule, *asks) if one not in known and one != INSIDE]:
                raise self.wrong(
                    f"names the policy rule {unknown[0]!r}, which is none, for {where}"
                )
            documented = getattr(getattr(view, name), "__apidoc__", None) or {}
            if method in _WITH_BODY and not documented.get("expect"):
                raise self.wrong(f"has no schema for the body of {where}: say it by takes(SCHEMA)")

    def _rule(self, rule: Any) -> None:
        if not isinstance(rule, Rule):
            raise self.wrong("has no Rule")
        self._name(rule.name, "a policy rule")
        if rule.name in RULES or self.found.rules.get(rule.name, rule.check) != rule.check:
            raise self.wrong(f"bears a policy rule's name that is taken: {rule.name!r}")
        try:
            overrides.prove(rule.name, rule.check, {*RULES, *self.found.rules})
        except Invalid as error:
            raise self.wrong(f"is not guarded: {error.message}") from error
        self.found.rules[rule.name] = rule.check

    def _name(self, name: Any, what: str) -> None:
        good = isinstance(name, str) and len(name) <= 100 and _NAME.fullmatch(name)
        if not good or name.partition(":")[0] in _OURS:
            raise self.wrong(f"calls {what} {name!r}: it must be like 'package:name'")

    def _schema(self, schema: Any) -> None:
        if not isinstance(schema, Mapping):
            raise self.wrong(f"has no JSON Schema: {schema!r} is no object")
        try:
            Draft202012Validator.check_schema(dict(schema))
        except SchemaError as error:
            raise self.wrong(f"has no JSON Schema: {error.message}") from error
        if (lost := _unresolved(dict(schema))) is not None:
            raise self.wrong(f"has a schema that refers to {lost!r}, which is not in it")

    def _callable(self, given: Any, name: str) -> None:
        if not callable(given):
            raise self.wrong(f"has no function {name}")
