"""Reading Neutron's query strings: filters by column, chosen fields, pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import request

from app.store.paging import Page
from app.web import query
from app.web.body import is_true

Column = tuple[str, type]


def page() -> Page:
    """The page asked for, in the order of ids."""
    return Page(max(1, query.limit()), request.args.get("marker"))


def filters(columns: Mapping[str, Column]) -> dict[str, list[Any]]:
    """Allowed values by column, for those query parameters that `columns` knows.

    Others (Neutron's extensions have many) are ignored, as Neutron does.
    """
    found: dict[str, list[Any]] = {}
    for name, (column, kind) in columns.items():
        if values := request.args.getlist(name):
            found[column] = [is_true(value) if kind is bool else value for value in values]
    return found


def chosen(shown: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Only the `fields` asked for, all when none are."""
    wanted = set(request.args.getlist("fields"))
    if not wanted:
        return list(shown)
    return [{name: value for name, value in one.items() if name in wanted} for one in shown]


def listed(kind: str, shown: Sequence[dict[str, Any]], size: int) -> dict[str, Any]:
    """A list's body, with the link to its next page when this one is full."""
    body: dict[str, Any] = {kind: chosen(shown)}
    if "limit" in request.args and shown and len(shown) == size:
        href = query.next_page(str(shown[-1]["id"]), size)
        body[f"{kind}_links"] = [{"rel": "next", "href": href}]
    return body
