"""Forgetting what ended long ago: deleted servers with all that is theirs, and old actions."""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, exists, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.models import Action, Allocation, Cleanup, Server, now
from app.store.database import changed

LIMIT = 200
"""Rows that one transaction removes at most: others wait no longer than that takes."""
DAY = 86400.0


def servers(session: Session, days: int) -> int:
    """Remove servers that were deleted more than `days` ago; how many there were, at most LIMIT.

    Actions, events, ports, tags and NICs go with them. One of which a host still owes a clean-up,
    or that still holds a claim, stays: it is not over.
    """
    ids = list(
        session.scalars(
            select(Server.id)
            .where(
                Server.deleted_at < now() - days * DAY,
                ~_of(Cleanup.server_id),
                ~_of(Allocation.server_id),
            )
            .order_by(Server.id)
            .limit(LIMIT)
            .with_for_update(skip_locked=True)
        )
    )
    return changed(session, delete(Server).where(Server.id.in_(ids))) if ids else 0


def old_actions(session: Session, days: int) -> int:
    """Remove actions of living servers that ended more than `days` ago; at most LIMIT.

    A server keeps the one that made it.
    """
    ids = list(
        session.scalars(
            select(Action.id)
            .where(Action.finished_at < now() - days * DAY, Action.kind != "create")
            .order_by(Action.finished_at)
            .limit(LIMIT)
            .with_for_update(skip_locked=True)
        )
    )
    return changed(session, delete(Action).where(Action.id.in_(ids))) if ids else 0


def _of(server_id: InstrumentedAttribute[str]) -> ColumnElement[bool]:
    return exists().where(server_id == Server.id)
