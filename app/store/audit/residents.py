"""Servers as the hosts' inventories are compared with them, and what such a comparison heals."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.models import Action, Cleanup, Host, Server
from app.store import actions, cleanups
from app.store.audit.moment import pieces
from app.store.database import clock

FAR = 1000
"""How far a fence is raised when nobody says how far the host's is."""


@dataclass(frozen=True)
class Resident:
    """A server. `quiet` is for how many seconds nothing has been under way, None when something
    is; `busy_on` its host then; `owing` the hosts that have a cleanup of it."""

    id: str
    host: str | None
    fence: int
    vm_state: str
    deleted: bool
    quiet: float | None
    busy_on: str | None
    owing: frozenset[str]


def residents(session: Session, shown: Collection[str]) -> dict[str, Resident]:
    """The servers that are on a host or that a host shows, by id."""
    placed = _rows().where(Server.deleted_at.is_(None), Server.host.is_not(None))
    rows = {row.id: row for row in session.execute(placed)}
    for some in pieces(set(shown) - set(rows)):
        rows |= {row.id: row for row in session.execute(_rows().where(Server.id.in_(some)))}
    owing: dict[str, set[str]] = {}
    for server_id, host in session.execute(select(Cleanup.server_id, Cleanup.host)):
        owing.setdefault(server_id, set()).add(host)
    busy = {
        server_id: host or ""
        for server_id, host in session.execute(
            select(Action.server_id, Action.host).where(Action.finished_at.is_(None))
        )
    }
    at = clock(session)
    return {
        row.id: Resident(
            row.id,
            row.host,
            row.fence,
            row.vm_state,
            row.deleted_at is not None,
            None if row.id in busy else max(at - (row.last or row.created_at), 0.0),
            busy.get(row.id),
            frozenset(owing.get(row.id, ())),
        )
        for row in rows.values()
    }


def _rows() -> Any:
    last = (
        select(func.max(Action.finished_at))
        .where(Action.server_id == Server.id)
        .correlate(Server)
        .scalar_subquery()
    )
    return select(
        Server.id,
        Server.host,
        Server.fence,
        Server.vm_state,
        Server.deleted_at,
        Server.created_at,
        last.label("last"),
    )


def on_no_host(session: Session) -> list[tuple[str, str]]:
    """(server id, host) of servers whose host has no row."""
    rows = session.execute(
        select(Server.id, Server.host)
        .outerjoin(Host, Host.name == Server.host)
        .where(Server.deleted_at.is_(None), Server.host.is_not(None), Host.name.is_(None))
        .order_by(Server.id)
    )
    return [(row[0], row[1] or "") for row in rows]


def raise_fence(session: Session, server_id: str, host: str, known: int) -> bool:
    """Raise the fence of a server above what its own host knows: its messages count again."""
    server = _locked(session, server_id)
    if server is None or server.deleted_at is not None or server.host != host:
        return False
    running = actions.unfinished(session, server_id)
    if server.fence > known:
        return False
    server.fence = known + 2  # what a dead worker left undone is told one lower than it is
    if running is not None:
        running.next_ring_at, running.rings = clock(session), 0
    return True


def owe(session: Session, server_id: str, host: str) -> bool:
    """Have `host` remove what it has of a server that is gone or elsewhere."""
    server = _locked(session, server_id)
    if server is None or (server.deleted_at is None and server.host == host):
        return False
    running = actions.unfinished(session, server_id)
    if running is not None and running.host == host:
        return False
    if session.scalar(select(Host.name).where(Host.name == host)) is None:
        return False
    if running is None:
        server.fence += 1  # above whatever the host last heard of it
    cleanups.owe(session, server, host)
    return True


def owe_above(session: Session, server_id: str, host: str) -> bool:
    """Raise a cleanup that its host refuses above whatever that host may know."""
    server = _locked(session, server_id)
    if server is None or (server.deleted_at is None and server.host == host):
        return False
    if actions.unfinished(session, server_id) is not None:
        return False
    owed = select(Cleanup.id).where(Cleanup.server_id == server_id, Cleanup.host == host)
    if session.scalar(owed) is None:
        return False
    server.fence += FAR
    cleanups.owe(session, server, host)
    return True


def write_off(session: Session, host: str) -> bool:
    """End what a host owes that has no row any more."""
    if session.scalar(select(Host.name).where(Host.name == host)) is not None:
        return False
    cleanups.write_off(session, host)
    return True


def _locked(session: Session, server_id: str) -> Server | None:
    return session.scalars(
        select(Server).where(Server.id == server_id).with_for_update()
    ).one_or_none()
