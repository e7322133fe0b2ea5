"""What heartbeats say of the stages that run, noted in the rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ScalarSelect, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.domain.message import Key
from app.models import Action, Server, now


def note(session: Session, seen: Sequence[tuple[Key, str, int, str, bool]]) -> None:
    """Note what heartbeats say of running stages: (key, host, percent, message, started).

    A stage that a live beat names is not lost: its ring moves on by 10 s. Progress is coarse
    here; the result backend has it live.
    """
    told = {(key, host): (percent, text, began) for key, host, percent, text, began in seen}
    rows = session.execute(
        select(
            Action.id,
            Action.stage,
            Action.direction,
            Action.host,
            Action.progress,
            Action.message,
            Action.stage_started_at,
            Server.fence,
        )
        .join(Server, Server.id == Action.server_id)
        .where(Action.id.in_([key.action_id for key, _ in told]), Action.finished_at.is_(None))
        .order_by(Action.server_id)
    ).all()
    for row in rows:
        key = Key(row.id, row.fence, row.stage, row.direction)
        if (key, row.host) not in told:
            continue
        session.execute(
            update(Action)
            .where(
                Action.id == key.action_id,
                Action.stage == key.stage,
                Action.direction == key.direction,
                Action.host == row.host,
                Action.finished_at.is_(None),
                _fence_of(Action.server_id) == key.fence,
            )
            .values(**_noted(row, *told[key, row.host]))
        )


def _noted(row: Any, percent: int, message: str, started: bool) -> dict[str, Any]:
    """The columns that a sighting changes."""
    values: dict[str, Any] = {"next_ring_at": now() + 10.0}
    if started and row.stage_started_at is None:
        values |= {"stage_started_at": now(), "progress_at": now()}
    if (row.progress, row.message) != (percent, message or None):
        values |= {
            "progress": percent,
            "message": message or None,
            "progress_at": now(),
            "revision": Action.revision + 1,
        }
    return values


def _fence_of(server_id: InstrumentedAttribute[str]) -> ScalarSelect[int]:
    return select(Server.fence).where(Server.id == server_id).correlate(Action).scalar_subquery()
