"""What owners change of a server's own description, whatever the server is doing."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.models import Server
from app.store import servers

COLUMNS = frozenset(
    {"name", "description", "hostname", "disk_config", "access_ipv4", "access_ipv6"}
)


def update(
    session: Session, caller: Caller, server_id: str, changes: Mapping[str, str | None]
) -> Server:
    """Set some of COLUMNS; a lock does not guard them, as in Nova. Raises NotFound."""
    server = servers.hold(session, caller, server_id)
    for column in COLUMNS & set(changes):
        setattr(server, column, changes[column])
    session.flush()
    session.refresh(server)
    return server
