"""Reading Neutron's query strings: filters by column, chosen fields, order, pages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from flask import Response, request

from app.errors import Forbidden, Invalid
from app.store.networks import Listing
from app.store.paging import Page
from app.web import query
from app.web.api import Route
from app.web.policy import INSIDE

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
    if kind is bool:
        return [query.truth(name, text) for text in texts]
    return list(texts)


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


def refused() -> Response:
    """What every write of Network answers, to administrators too."""
    raise Forbidden(
        "Networks are the cloud's own here: this API shows them, and changes nothing.",
        code="read_only",
    )


class Collection(Route):
    """A list that cannot be added to."""

    keyless = "it refuses everything"

    def post(self) -> Response:
        """Refused: nothing can be made here."""
        return refused()


class Item(Route):
    """One of a list; it cannot be changed."""

    def put(self, **named: str) -> Response:
        """Refused: nothing can be changed here."""
        return refused()

    def delete(self, **named: str) -> Response:
        """Refused: nothing can be deleted here."""
        return refused()


def reading(rule: str) -> dict[str, str]:
    """A route's policy: `rule` for reading; writes refuse themselves, whoever asks."""
    return {"get": rule, **dict.fromkeys(("post", "put", "delete"), INSIDE)}
