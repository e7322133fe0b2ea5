"""What is due: rows whose stage was sent, or never sent, and has not answered."""

from __future__ import annotations

from sqlalchemy import ColumnElement, and_, case, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.models import Action, Cleanup, Host, Server, now

LIMIT = 200
BACKOFF = (2.0, 4.0, 8.0, 16.0, 30.0)
DISPATCHED = 32
"""Unfinished slow actions that may be with one host; further rows wait in the database."""


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


def not_sent(session: Session, ids: list[str]) -> None:
    """A publish that raised does not count: these actions and cleanups are due again at once."""
    for table in (Action, Cleanup):
        session.execute(
            update(table)
            .where(table.id.in_(ids), table.rings > 0)
            .values(next_ring_at=now(), rings=table.rings - 1)
        )


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


def dispatchable(session: Session, action: Action, slow: list[str]) -> bool:
    """Whether fewer than DISPATCHED slow actions that came before are still with the host."""
    if action.stage not in slow:
        return True
    before = session.scalar(
        select(func.count())
        .select_from(Action)
        .where(
            Action.host == action.host,
            Action.stage.in_(slow),
            Action.finished_at.is_(None),
            or_(
                Action.created_at < action.created_at,
                and_(Action.created_at == action.created_at, Action.id < action.id),
            ),
        )
    )
    return (before or 0) < DISPATCHED


def ring_everything(session: Session) -> None:
    """Make every unfinished row due: the broker lost its data."""
    session.execute(
        update(Action).where(Action.finished_at.is_(None)).values(next_ring_at=now(), rings=0)
    )
    session.execute(update(Cleanup).values(next_ring_at=now(), rings=0))


def ring_host(session: Session, host: str) -> None:
    """Make what a host owes due: its worker began a new session and forgot its queue."""
    session.execute(
        update(Action)
        .where(Action.host == host, Action.finished_at.is_(None))
        .values(next_ring_at=now(), rings=0)
    )
    session.execute(update(Cleanup).where(Cleanup.host == host).values(next_ring_at=now(), rings=0))


def overdue(session: Session) -> list[str]:
    """Ids of unfinished actions, for the deadlines to look at; the oldest first.

    Those with a host that is away are among them.
    """
    away = select(Host.name).where(Host.state.in_(("down", "driver_down"))).scalar_subquery()
    return list(
        session.scalars(
            select(Action.id)
            .where(
                Action.finished_at.is_(None),
                or_(
                    Action.deadline <= now(),
                    Action.stage_started_at <= now() - 5.0,
                    Action.host.in_(away),
                ),
            )
            .order_by(Action.created_at)
            .limit(1000)
        )
    )


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
