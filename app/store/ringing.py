"""What is due: rows whose stage was sent, or never sent, and has not answered."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, and_, case, or_, select, true, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.domain.message import DO, UNDO
from app.models import Action, Cleanup, Host, Server, now

LIMIT = 200
OVERDUE_LIMIT = 1000
_AT_ONCE = 5000
BACKOFF = (2.0, 4.0, 8.0, 16.0, 30.0)
DISPATCHED, DISPATCHED_COPIES = 32, 8
"""Unfinished builds and copies that may be with one host; further rows wait in the database."""


def due_actions(session: Session, hosts: list[str]) -> list[tuple[Action, Server]]:
    """Unfinished actions whose ring is due; those of hosts not in `hosts` keep waiting.

    Taking them moves their next ring on, so copies of the sweep are harmless.
    """
    candidates = (
        select(Action.id)
        .where(
            Action.finished_at.is_(None),
            Action.next_ring_at <= now(),
            or_(Action.host.is_(None), Action.host.in_(hosts)),
        )
        .order_by(Action.next_ring_at)
        .limit(LIMIT)
        .with_for_update(skip_locked=True)
    )
    ids = list(session.scalars(candidates))
    if not ids:
        return []
    taken = session.scalars(
        update(Action)
        .where(Action.id.in_(ids), Action.finished_at.is_(None))
        .values(next_ring_at=now() + _backoff(Action.rings), rings=Action.rings + 1)
        .returning(Action)
    ).all()
    servers = {
        server.id: server
        for server in session.scalars(
            select(Server).where(Server.id.in_([action.server_id for action in taken]))
        )
    }
    return [(action, servers[action.server_id]) for action in taken]


def not_sent(session: Session, ids: Collection[str], after: float = 0.0) -> None:
    """A ring that did not happen does not count: these actions and cleanups are due again.

    At once when their publish raised; `after` seconds when they were held back.
    """
    for table in (Action, Cleanup):
        counted = and_(table.id.in_(ids), table.rings > 0)
        _change(session, table, counted, next_ring_at=now() + after, rings=table.rings - 1)


def due_cleanups(session: Session, hosts: list[str]) -> list[Cleanup]:
    """Cleanups whose ring is due, on hosts that can be reached."""
    ids = list(
        session.scalars(
            select(Cleanup.id)
            .where(Cleanup.next_ring_at <= now(), Cleanup.host.in_(hosts))
            .order_by(Cleanup.next_ring_at)
            .limit(LIMIT)
            .with_for_update(skip_locked=True)
        )
    )
    if not ids:
        return []
    return list(
        session.scalars(
            update(Cleanup)
            .where(Cleanup.id.in_(ids))
            .values(next_ring_at=now() + _backoff(Cleanup.rings), rings=Cleanup.rings + 1)
            .returning(Cleanup)
        )
    )


def dispatchable(
    session: Session, wanted: Sequence[Action], slow: list[str], most: int
) -> set[str]:
    """Ids of those actions that may be with their host now.

    Of those at a `slow` stage that is the first `most` by acceptance that a host has not finished.
    """
    rows = session.execute(
        select(Action.host, Action.id)
        .where(
            Action.host.in_({action.host for action in wanted if action.stage in slow}),
            Action.stage.in_(slow),
            Action.finished_at.is_(None),
        )
        .order_by(Action.host, Action.created_at, Action.id)
    )
    first: dict[str, set[str]] = {}
    for host, action_id in rows:
        ahead = first.setdefault(str(host), set())
        if len(ahead) < most:
            ahead.add(action_id)
    return {
        action.id
        for action in wanted
        if action.stage not in slow or action.id in first.get(action.host or "", ())
    }


def ring_everything(session: Session) -> None:
    """Make every unfinished row due: the broker lost its data."""
    _change(session, Action, Action.finished_at.is_(None), next_ring_at=now(), rings=0)
    _change(session, Cleanup, true(), next_ring_at=now(), rings=0)


def ring_host(session: Session, host: str) -> None:
    """Make what a host owes due: its worker began a new session and forgot its queue.

    What its actions waited for is over.
    """
    here = and_(Action.host == host, Action.finished_at.is_(None))
    over = {"message": None, "revision": Action.revision + 1}
    _change(session, Action, here, next_ring_at=now(), rings=0, **over)
    _change(session, Cleanup, Cleanup.host == host, next_ring_at=now(), rings=0)


@dataclass(frozen=True)
class Limits:
    """How long stages may take, in seconds from their start; `progress` is without any."""

    resume: float
    destroy: float
    slow: float
    progress: float


def overdue(session: Session, limits: Limits, slow: Collection[str]) -> list[str]:
    """Ids of unfinished actions past one of their deadlines, the oldest first.

    Those that must leave a host that is away are among them; what may wait for it is not.
    """
    away = select(Host.name).where(Host.state.in_(("down", "driver_down"))).scalar_subquery()
    undo = or_(Action.direction == UNDO, Action.stage == "destroy")
    in_slow = and_(Action.stage.in_(slow), Action.direction == DO)
    return list(
        session.scalars(
            select(Action.id)
            .where(
                Action.finished_at.is_(None),
                or_(
                    Action.deadline <= now(),
                    and_(undo, Action.stage_started_at <= now() - limits.destroy),
                    and_(
                        Action.stage == "resume", Action.stage_started_at <= now() - limits.resume
                    ),
                    and_(in_slow, Action.stage_started_at <= now() - limits.slow),
                    and_(in_slow, Action.progress_at <= now() - limits.progress),
                    and_(or_(undo, Action.stage == "build"), Action.host.in_(away)),
                ),
            )
            .order_by(Action.created_at)
            .limit(OVERDUE_LIMIT)
        )
    )


def untold(session: Session, texts: Mapping[str, str]) -> list[str]:
    """Those of the hosts whose actions do not tell yet what they wait for; by name."""
    rows = session.execute(
        select(Action.host, Action.message).where(_waiting(), Action.host.in_(texts))
    )
    return sorted({host for host, message in rows if host and message != texts[host]})


def tell(session: Session, host: str, text: str) -> None:
    """Let the actions that wait for a host say so."""
    here = and_(_waiting(), Action.host == host)
    _change(session, Action, here, message=text, revision=Action.revision + 1)


def _waiting() -> ColumnElement[bool]:
    """Unfinished and not at work: what a build that began tells is of more use."""
    at_work = and_(Action.stage == "build", Action.stage_started_at.is_not(None))
    return and_(Action.finished_at.is_(None), ~at_work)


def _change(
    session: Session,
    table: type[Action] | type[Cleanup],
    which: ColumnElement[bool],
    **values: Any,
) -> None:
    """Set columns of many rows, locked in the order that all writers use: that of their servers.

    By their ids: what is committed between the two statements is not locked in any order.
    """
    ids = session.scalars(
        select(table.id).where(which).order_by(table.server_id, table.id).with_for_update()
    ).all()
    for start in range(0, len(ids), _AT_ONCE):
        some = table.id.in_(ids[start : start + _AT_ONCE])
        session.execute(update(table).where(some).values(**values))


def on_host(session: Session, host: str) -> list[str]:
    """Ids of the unfinished actions that are with a host."""
    return list(
        session.scalars(select(Action.id).where(Action.host == host, Action.finished_at.is_(None)))
    )


def ended_without_settle(session: Session, since: float) -> list[Action]:
    """Actions that ended after `since` and may have no task of their own to say so.

    Those are failed and cancelled ones, deletes of servers that were on no host, and locks.
    """
    return list(
        session.scalars(
            select(Action)
            .where(
                Action.finished_at > since,
                or_(
                    Action.state.in_(("failed", "cancelled")),
                    and_(Action.kind == "delete", Action.host.is_(None)),
                    Action.kind.in_(("lock", "unlock")),
                ),
            )
            .order_by(Action.finished_at)
            .limit(5 * LIMIT)
        )
    )


def names_in_state(session: Session, states: tuple[str, ...]) -> list[str]:
    """Names of the hosts in one of these states."""
    return list(session.scalars(select(Host.name).where(Host.state.in_(states))))


def _backoff(rings: ColumnElement[int] | InstrumentedAttribute[int]) -> ColumnElement[float]:
    """2, 4, 8, 16, then 30 seconds, by the number of rings so far."""
    return case(
        *[(rings == count, seconds) for count, seconds in enumerate(BACKOFF)],
        else_=BACKOFF[-1],
    )
