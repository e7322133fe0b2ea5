"""Which rule guards which route: read off the routes themselves."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from flask import Flask

from app.web.filters import SERVICES
from app.web.policy import INSIDE

if TYPE_CHECKING:
    from app.web.extending.loading import Extensions


@dataclass(frozen=True)
class Guard:
    """One method of one route: the rule that lets in, and those that its handler asks besides."""

    method: str
    path: str
    rule: str | None
    asks: tuple[str, ...] = ()

    @property
    def rules(self) -> tuple[str, ...]:
        """All rules that are asked here."""
        return tuple(rule for rule in (self.rule, *self.asks) if rule and rule != INSIDE)

    def __str__(self) -> str:
        path = re.sub(r"<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", self.path)
        return f"{self.method} {path}"


def guards(app: Flask) -> Iterator[Guard]:
    """Every method of a service's route that needs a token; server actions one by one."""
    for rule in sorted(app.url_map.iter_rules(), key=lambda rule: rule.rule):
        view = getattr(app.view_functions[rule.endpoint], "view_class", None)
        if view is None or rule.rule.split("/")[1] not in SERVICES or view.public:
            continue
        for method in sorted(set(view.methods) - set(view.public_methods)):
            yield from _of_method(view, method, rule.rule, app.extensions["novella"].extensions)


def by_rule(app: Flask) -> dict[str, list[str]]:
    """The routes at which each rule is asked."""
    found: dict[str, list[str]] = {}
    for guard in guards(app):
        for rule in dict.fromkeys(guard.rules):
            found.setdefault(rule, []).append(str(guard))
    return found


def _of_method(view: Any, method: str, path: str, extensions: Extensions) -> Iterator[Guard]:
    from app.web.compute import actions  # it imports this package

    if view is actions.ServerAction:
        for name, (rule, _, _) in sorted(actions.ACTIONS.items()):
            yield Guard(method, f"{path} ({name})", rule, tuple(actions.ASKS[name]))
        for one in extensions.actions.values():
            yield Guard(method, f"{path} ({one.name})", one.rule.name)
        return
    asks = tuple(view.needs.get(method.lower(), ())) + tuple(view.asks.get(method.lower(), ()))
    if method.lower() in view.extended:
        asks += tuple(one.rule.name for one in extensions.fields.values())
    yield Guard(method, path, view.policy.get(method.lower()), asks)
