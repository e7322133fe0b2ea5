"""Pages of a list: rows after a marker, in the order of one key and then the id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_
from sqlalchemy.orm import InstrumentedAttribute


@dataclass(frozen=True)
class Page:
    """At most `limit` rows after the row with id `marker`; `descending` is the key's order."""

    limit: int = 1000
    marker: str | None = None
    descending: bool = False


def page_of(
    query: Select[Any],
    page: Page,
    key: InstrumentedAttribute[Any],
    identity: InstrumentedAttribute[Any],
    marker: object | None,
) -> Select[Any]:
    """`query` in the order of `key`, from after the row `marker`; ties go by `identity`."""
    if marker is not None:
        query = query.where(_after(page, key, identity, marker))
    if page.descending:
        query = query.order_by(key.desc().nulls_last(), identity.desc())
    else:
        query = query.order_by(key.asc().nulls_first(), identity.asc())
    return query.limit(page.limit)


def _after(
    page: Page,
    key: InstrumentedAttribute[Any],
    identity: InstrumentedAttribute[Any],
    marker: object,
) -> ColumnElement[bool]:
    at, last = getattr(marker, key.key), getattr(marker, identity.key)
    further = identity < last if page.descending else identity > last
    if at is None:  # empty keys are the least: first when ascending, last when descending
        rest = and_(key.is_(None), further)
        return rest if page.descending else or_(key.is_not(None), rest)
    beyond = or_(key < at, key.is_(None)) if page.descending else key > at
    return or_(beyond, and_(key == at, further))
