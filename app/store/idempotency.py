"""Answers that were given before: a repeated POST with the same Idempotency-Key gets the same."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy import delete, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.errors import Invalid
from app.models import Idempotency, now
from app.store.database import changed

KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Asked:
    """One POST, by its project, its key, and what it asks for (`body_hash` is SHA-256)."""

    project_id: str
    key: str
    method: str
    path: str
    body_hash: str


@dataclass(frozen=True)
class Answered:
    """The answer that was given; `body` as the caller of this module encrypted it."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: str = ""


def begin(session: Session, asked: Asked) -> Answered | None:
    """Reserve the key for this transaction, or give the answer that stands under it.

    A second request with the same key waits here until the first one's transaction has ended.
    Raises Invalid when the key was used for something else.
    """
    session.execute(
        delete(Idempotency).where(
            Idempotency.project_id == asked.project_id,
            Idempotency.key == asked.key,
            Idempotency.created_at < now() - KEPT_SECONDS,
        )
    )
    insert = (sqlite if session.get_bind().dialect.name == "sqlite" else postgresql).insert
    reserved = insert(Idempotency).values(**vars(asked), status=0, headers={}, body="")
    made = session.execute(reserved.on_conflict_do_nothing().returning(Idempotency.key))
    if made.first() is not None:
        return None
    return _told(session.get_one(Idempotency, (asked.project_id, asked.key)), asked)


def standing(session: Session, asked: Asked) -> Answered | None:
    """The answer that stands under the key, if any. Raises Invalid as `begin` does."""
    stored = session.scalars(
        select(Idempotency).where(
            Idempotency.project_id == asked.project_id,
            Idempotency.key == asked.key,
            Idempotency.created_at >= now() - KEPT_SECONDS,
        )
    ).one_or_none()
    return None if stored is None else _told(stored, asked)


def _told(stored: Idempotency, asked: Asked) -> Answered:
    same = (stored.method, stored.path, stored.body_hash)
    if same != (asked.method, asked.path, asked.body_hash):
        raise Invalid(
            "This Idempotency-Key was used for another request.", code="idempotency_mismatch"
        )
    return Answered(stored.status, stored.headers, stored.body)


def keep(session: Session, asked: Asked, answered: Answered) -> None:
    """Store the answer under the key that `begin` reserved, in the same transaction."""
    session.execute(
        update(Idempotency)
        .where(Idempotency.project_id == asked.project_id, Idempotency.key == asked.key)
        .values(status=answered.status, headers=answered.headers, body=answered.body)
    )


def purge(session: Session) -> int:
    """Forget answers older than a day; how many there were."""
    return changed(
        session, delete(Idempotency).where(Idempotency.created_at < now() - KEPT_SECONDS)
    )
