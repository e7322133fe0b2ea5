"""Servers that somebody else than their owners tells of: where they are, and asking their hosts."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Action, Server
from app.store import servers


def hosts_of(session: Session, ids: Iterable[str]) -> dict[str, str | None]:
    """The host of each of these servers that exists, of whatever project; None before the claim."""
    query = select(Server.id, Server.host)
    query = query.where(Server.id.in_(list(ids)), Server.deleted_at.is_(None))
    return {row.id: row.host for row in session.execute(query)}


def ask_for_power(session: Session, server_id: str, request_id: str) -> Action | None:
    """Let the server's host report its power state; None when it is busy, or gone by now."""
    query = select(Server).where(Server.id == server_id, Server.deleted_at.is_(None))
    server = session.scalars(query.with_for_update()).one_or_none()
    return None if server is None else servers.sync(session, server, request_id)
