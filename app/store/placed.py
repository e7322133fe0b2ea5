"""What holds room on which host: for a snapshot of the cloud."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Allocation, Flavor, Server


def allocations(session: Session) -> list[tuple[Allocation, Server]]:
    """Every allocation with its server, the oldest server first."""
    rows = session.execute(
        select(Allocation, Server)
        .join(Server, Server.id == Allocation.server_id)
        .order_by(Server.created_at, Server.id, Allocation.host)
    )
    return [(allocation, server) for allocation, server in rows]


def flavors(session: Session) -> list[Flavor]:
    """Every flavor that is not disabled, public or not, by name."""
    return list(
        session.scalars(select(Flavor).where(Flavor.disabled.is_(False)).order_by(Flavor.name))
    )
