"""Pages of a list: rows after a marker, in the order of some keys and then the id."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, false, or_
from sqlalchemy.orm import InstrumentedAttribute

Key = tuple[InstrumentedAttribute[Any], bool]
"""A column, and whether its order is descending."""


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
    return in_order(query, [(key, page.descending)], identity, marker).limit(page.limit)


def in_order(
    query: Select[Any],
    keys: Sequence[Key],
    identity: InstrumentedAttribute[Any],
    marker: object | None,
) -> Select[Any]:
    """`query` in the order of `keys`, from after the row `marker`; ties go by `identity`, in the
    direction of the last key. Empty keys are the least."""
    keys = [*keys, (identity, keys[-1][1])]
    if marker is not None:
        query = query.where(_after(keys, marker))
    return query.order_by(*(_ordered(column, descending) for column, descending in keys))


def _ordered(column: InstrumentedAttribute[Any], descending: bool) -> ColumnElement[Any]:
    order = column.desc() if descending else column.asc()
    if not column.expression.nullable:
        return order  # plainly, as an index has it
    return order.nulls_last() if descending else order.nulls_first()


def _after(keys: Sequence[Key], marker: object) -> ColumnElement[bool]:
    """Beyond the marker in one key, and equal to it in those before."""
    ways: list[ColumnElement[bool]] = []
    equal: list[ColumnElement[bool]] = []
    for column, descending in keys:
        at = getattr(marker, column.key)
        ways.append(and_(*equal, _beyond(column, at, descending)))
        equal.append(column.is_(None) if at is None else column == at)
    return or_(*ways)


def _beyond(column: InstrumentedAttribute[Any], at: Any, descending: bool) -> ColumnElement[bool]:
    if at is None:
        return false() if descending else column.is_not(None)
    return or_(column < at, column.is_(None)) if descending else column > at
