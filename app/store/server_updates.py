"""What owners change of a server's own description, whatever the server is doing."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.errors import Conflict
from app.models import Host, Server
from app.store import servers

COLUMNS = frozenset(
    {
        "name",
        "description",
        "hostname",
        "disk_config",
        "access_ipv4",
        "access_ipv6",
        "availability_zone",
    }
)


def update(
    session: Session, caller: Caller, server_id: str, changes: Mapping[str, str | None]
) -> Server:
    """Set some of COLUMNS; a lock does not guard them, as in Nova.

    The availability zone is where the server must stay when it moves: it is taken off, or set to
    where the server is. Raises NotFound, and Conflict for another zone.
    """
    server = servers.hold(session, caller, server_id)
    if changes.get("availability_zone") is not None:
        _check_pin(session, server, str(changes["availability_zone"]))
    for column in COLUMNS & set(changes):
        setattr(server, column, changes[column])
    session.flush()
    session.refresh(server)
    return server


def _check_pin(session: Session, server: Server, zone: str) -> None:
    pinned = server.availability_zone
    if zone == pinned:
        return
    if pinned is not None:
        raise Conflict(
            f"Instance {server.id} is pinned to another availability zone: unpin it first, with "
            "pinned_availability_zone null"
        )
    there = session.scalar(select(Host.zone).where(Host.name == server.host))
    if zone != there:
        raise Conflict(
            f"Instance {server.id} is not in that availability zone: it can be pinned only to "
            "the one that it is in"
        )
