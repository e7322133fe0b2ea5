"""What hosts still owe: rung like stages, ended only by the host's own word "absent"."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.models import Cleanup, Server
from app.store import addresses, claims
from app.store.database import clock


def owe(session: Session, server: Server, host: str) -> None:
    """Note that `host` must remove what it has of the server, at the server's fence by now."""
    standing = session.scalars(
        select(Cleanup)
        .where(Cleanup.server_id == server.id, Cleanup.host == host)
        .with_for_update()
    ).one_or_none()
    if standing is None:
        session.add(
            Cleanup(
                server_id=server.id,
                host=host,
                fence=server.fence,
                next_ring_at=clock(session) + 2.0,
            )
        )
    else:
        standing.fence = max(standing.fence, server.fence)
        standing.next_ring_at = clock(session) + 2.0
        standing.rings = 0
    session.flush()


def done(session: Session, cleanup_id: str, host: str, fence: int) -> bool:
    """End a cleanup: free what the server held on the host. False when it is not that one."""
    found = session.execute(
        select(Cleanup, Server)
        .join(Server, Server.id == Cleanup.server_id)
        .where(Cleanup.id == cleanup_id, Cleanup.host == host, Cleanup.fence == fence)
        .with_for_update(of=Server)
    ).one_or_none()
    if found is None:
        return False
    cleanup, server = found
    session.execute(delete(Cleanup).where(Cleanup.id == cleanup.id))
    session.flush()
    if server.host != host or server.deleted_at is not None:
        claims.release(session, server.id, host)
    if server.deleted_at is not None and not any_of(session, server.id):
        addresses.let_go(session, server.id)
    return True


def lock(session: Session, server_id: str) -> None:
    """Lock what hosts owe of the server: whoever locks hosts as well does this first."""
    owed = select(Cleanup.id).where(Cleanup.server_id == server_id).order_by(Cleanup.id)
    session.execute(owed.with_for_update())


def any_of(session: Session, server_id: str) -> bool:
    """Whether some host still has something of the server to remove."""
    return session.scalar(select(Cleanup.id).where(Cleanup.server_id == server_id)) is not None


def write_off(session: Session, host: str) -> None:
    """End all that `host` owes, on an operator's word that it will never come back."""
    owed = select(Cleanup).where(Cleanup.host == host).order_by(Cleanup.server_id)
    owing = [cleanup.server_id for cleanup in session.scalars(owed)]
    # All servers before the first claim is freed: that locks the host, and servers come first.
    locked = select(Server.id).where(Server.id.in_(owing)).order_by(Server.id).with_for_update()
    session.execute(locked)
    known = owed.where(Cleanup.server_id.in_(owing)).with_for_update()
    for cleanup in session.scalars(known).all():
        done(session, cleanup.id, host, cleanup.fence)
