"""Ports with what they belong to."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, exists, or_, select
from sqlalchemy.orm import Session

from app.models import Cleanup, Host, Port, Server, ServerNic, Subnet
from app.store import addresses, cleanups


@dataclass(frozen=True)
class PortRow:
    """A server's port, or one made for a server. `owed`: a host has still to let go of it; `gone`:
    its server is deleted; `dhcp`: its guest is told its address by its host."""

    id: str
    mac: str
    address: str
    network_id: str
    subnet_network_id: str
    cidr: str
    gateway: str | None
    server_id: str | None
    gone: bool
    owed: bool
    dhcp: bool


def ports(session: Session) -> list[PortRow]:
    """Every port that is a server's, or was made for one."""
    owed = exists().where(Cleanup.server_id == Port.server_id)
    query: Any = (
        select(
            Port.id,
            Port.mac,
            Port.address,
            Port.network_id,
            Subnet.network_id,
            Subnet.cidr,
            Subnet.gateway_ip,
            Port.server_id,
            Server.deleted_at.is_not(None),
            owed,
            Subnet.enable_dhcp,
        )
        .join(Subnet, Subnet.id == Port.subnet_id)
        .outerjoin(Server, Server.id == Port.server_id)
        .where(or_(Port.server_id.is_not(None), Port.own))
        .order_by(Port.server_id, Port.position, Port.id)
    )
    return [PortRow(*row) for row in session.execute(query)]


def hosts_inside(session: Session) -> list[tuple[str, str, str, str]]:
    """(host, its address, subnet id, cidr) of hosts whose address is a project's."""
    subnets = [
        (ipaddress.IPv4Network(cidr), subnet_id)
        for subnet_id, cidr in session.execute(select(Subnet.id, Subnet.cidr).order_by(Subnet.id))
    ]
    found = []
    for name, address in session.execute(select(Host.name, Host.address).order_by(Host.name)):
        try:
            there = ipaddress.IPv4Address(address or "")
        except ipaddress.AddressValueError:
            continue  # a name, or IPv6
        found += [(name, str(there), row_id, str(net)) for net, row_id in subnets if there in net]
    return found


def nics_without_port(session: Session) -> list[tuple[str, int, str]]:
    """(server id, position, host) of interfaces that a placed server asked for and lacks."""
    has = exists().where(Port.server_id == Server.id, Port.position == ServerNic.position)
    rows = session.execute(
        select(Server.id, ServerNic.position, Server.host)
        .join(ServerNic, ServerNic.server_id == Server.id)
        .where(Server.deleted_at.is_(None), Server.host.is_not(None), ~has)
        .order_by(Server.id, ServerNic.position)
    )
    return [(row[0], row[1], row[2] or "") for row in rows]


def release(session: Session, server_id: str) -> bool:
    """Free the addresses of a deleted server that no host has to let go of any more."""
    server = session.scalars(
        select(Server).where(Server.id == server_id).with_for_update()
    ).one_or_none()
    if server is None or server.deleted_at is None or cleanups.any_of(session, server_id):
        return False
    addresses.let_go(session, server_id)
    return True


def drop(session: Session, port_id: str) -> bool:
    """Remove a port that belongs to no server."""
    session.execute(delete(Port).where(Port.id == port_id, Port.server_id.is_(None)))
    return True
