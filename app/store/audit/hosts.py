"""Hosts, as heartbeats and inventories are compared with them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Host


@dataclass(frozen=True)
class HostRow:
    """What is known of a host."""

    name: str
    uuid: str
    session: str
    state: str
    forced_down: bool


def rows(session: Session) -> list[HostRow]:
    """Every host, by name."""
    found = session.execute(
        select(Host.name, Host.uuid, Host.session, Host.state, Host.forced_down).order_by(Host.name)
    )
    return [HostRow(*row) for row in found]
