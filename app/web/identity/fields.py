"""From bodies and queries to what the store takes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from flask import request

from app.errors import Invalid
from app.models import Project, User
from app.store import identity
from app.store.database import reading
from app.store.paging import Page
from app.web import query

Row = TypeVar("Row", Project, User)


def domain_of(given: dict[str, Any], what: str) -> str:
    """The domain of a new project or user. Raises Invalid when there is none such."""
    wanted: str = given.get("domain_id") or "default"
    with reading() as session:
        if identity.find_domain(session, wanted, None) is None:
            raise Invalid(f"Invalid input for field {what}.domain_id: no such domain")
    return wanted


def stays(given: dict[str, Any], what: str, name: str, value: str) -> None:
    """Raise Invalid when the body moves `name` away from `value`, which cannot be."""
    if given.get(name) not in (None, value):
        raise Invalid(f"Invalid input for field {what}.{name}: cannot be changed, is {value}")


def columns(given: dict[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Those of `names` that the body has; no description is an empty one."""
    found = {name: given[name] for name in names if name in given}
    if "description" in found:
        found["description"] = found["description"] or ""
    return found


def page() -> Page:
    """The page that the query asks for, and one row more, which tells whether another follows."""
    return Page(query.limit() + 1, request.args.get("marker"))


def cut(rows: list[Row]) -> tuple[list[Row], str | None]:
    """The page's rows, and the address of the next page."""
    size = query.limit()
    shown = rows[:size]
    more = len(rows) > size and bool(shown)
    return shown, query.next_page(shown[-1].id, size) if more else None


def is_asked(name: str) -> bool:
    """Whether a flag of the query is on; a bare `?name` is."""
    text = request.args.get(name)
    return text is not None and (text == "" or query.truth(name, text))
