"""Reading Neutron's query strings: filters by column, chosen fields, order, pages."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from flask import request

from app.errors import Invalid
from app.store.networks import Listing
from app.store.paging import Page
from app.web import context, query
from app.web.policy import require

Column = tuple[str, type]
_NEITHER: Mapping[str, str] = {}


def listing(
    columns: Mapping[str, Column], sortable: Sequence[str], fixed: Mapping[str, str] = _NEITHER
) -> Listing:
    """The rows asked for. `columns` are parameters that filter by a column, `fixed` attributes
    that are the same for all rows; others (Neutron's extensions have many) are ignored, as
    Neutron does."""
    filters = {columns[name][0]: _values(name, columns[name][1]) for name in _given(columns)}
    for name in _given(fixed):
        if fixed[name] not in (value.lower() for value in request.args.getlist(name)):
            filters["id"] = []
    key = query.choice("sort_key", "id", tuple(sortable))
    descending = query.choice("sort_dir", "asc", ("asc", "desc")) == "desc"
    page = Page(max(1, query.limit()), request.args.get("marker"), descending)
    return Listing(filters, page, columns[key][0])


def _given(names: Mapping[str, Any]) -> list[str]:
    return [name for name in names if name in request.args]


def _values(name: str, kind: type) -> list[Any]:
    texts = request.args.getlist(name)
    if kind is int:
        return [_whole(name, text) for text in texts]
    if kind is bool:
        return [query.truth(name, text) for text in texts]
    return list(texts)


def _whole(name: str, text: str) -> int:
    if not re.fullmatch(r"-?\d{1,9}", text, re.ASCII):
        raise Invalid(
            f"Invalid input for query parameter {name}: not a whole number of at most 9 digits"
        )
    return int(text)


def address_filters() -> dict[str, list[str]]:
    """What `fixed_ips=ip_address=A` and `fixed_ips=subnet_id=S` ask for."""
    columns = {"ip_address": "address", "subnet_id": "subnet_id"}
    found: dict[str, list[str]] = {}
    for text in request.args.getlist("fixed_ips"):
        name, _, value = text.partition("=")
        if name not in columns:
            raise Invalid(
                "Invalid input for query parameter fixed_ips: must be ip_address= or subnet_id= "
                "and a value"
            )
        found.setdefault(columns[name], []).append(value)
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


def owner(given: Mapping[str, Any], rule: str) -> str:
    """Whose a new thing is: the caller's project's, or another's for which `rule` lets it act."""
    caller = context.caller()
    named = {given[name] for name in ("project_id", "tenant_id") if given.get(name)}
    others = named - {caller.project_id}
    for other in others:
        require(rule, project_id=other)
    if len(named) > 1:
        raise Invalid("'project_id' and 'tenant_id' do not match", code="HTTPBadRequest")
    return str(named.pop()) if named else caller.project_id


def chosen_columns(given: Mapping[str, Any], columns: Mapping[str, str]) -> dict[str, Any]:
    """What a body says, by column."""
    return {column: given[name] for name, column in columns.items() if name in given}
