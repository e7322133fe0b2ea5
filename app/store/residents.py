"""The servers of one host, as reconciliation compares them with what the host shows."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import and_, delete, or_, select
from sqlalchemy.orm import Session

from app.models import Action, Cleanup, MissingGuest, Server


def lock(session: Session, host: str, shown: Collection[str]) -> dict[str, Server]:
    """The servers that belong to `host` or that it shows, deleted ones too, by id.

    They, their unfinished actions and what the host owes of them are locked, in the order that all
    writers use.
    """
    belongs = and_(Server.host == host, Server.deleted_at.is_(None))
    rows = session.scalars(
        select(Server)
        .where(or_(belongs, Server.id.in_(shown)))
        .order_by(Server.id)
        .with_for_update()
    )
    found = {server.id: server for server in rows}
    session.execute(
        select(Action.id)
        .where(Action.server_id.in_(found), Action.finished_at.is_(None))
        .order_by(Action.server_id)
        .with_for_update()
    )
    session.execute(
        select(Cleanup.id)
        .where(Cleanup.host == host, Cleanup.server_id.in_(found))
        .order_by(Cleanup.server_id)
        .with_for_update()
    )
    return found


def has_cleanup(session: Session, server_id: str, host: str) -> bool:
    """Whether the host already owes a cleanup of the server."""
    found = select(Cleanup.id).where(Cleanup.server_id == server_id, Cleanup.host == host)
    return session.scalar(found) is not None


def found(session: Session, server_id: str) -> None:
    """Forget that the server's guest was missed: it was seen, or the server is gone."""
    session.execute(delete(MissingGuest).where(MissingGuest.server_id == server_id))


def missed_before(session: Session, server: Server, host_session: str, generation: int) -> bool:
    """Note that an inventory misses the guest; whether an older one missed it already."""
    noted = session.get(MissingGuest, server.id)
    if noted is None or noted.fence != server.fence:
        session.merge(
            MissingGuest(
                server_id=server.id,
                fence=server.fence,
                session=host_session,
                generation=generation,
            )
        )
        return False
    return (noted.session, noted.generation) != (host_session, generation)
