"""Aggregates as the scheduler's rows."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.scheduler.rows import AggregateRow
from app.store import aggregates


def aggregates_of(session: Session) -> list[AggregateRow]:
    """All aggregates; they stay as they are as long as `store.aggregates.revision` does."""
    found = aggregates.listed(session)
    members = aggregates.hosts_of(session, found)
    return [AggregateRow(one.name, frozenset(members[one.id]), one.meta) for one in found]
