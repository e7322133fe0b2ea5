"""The security groups of servers: those of their ports, and of the ports still to be made."""

from __future__ import annotations

from collections.abc import Collection

from sqlalchemy import delete, exists, insert, select, union
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.errors import Invalid, NotFound
from app.models import Port, PortGroup, SecurityGroup, Server, ServerSecurityGroup
from app.store import host_networking, security_groups, servers
from app.store.among import among


def names(session: Session, server_ids: Collection[str]) -> dict[str, list[str]]:
    """The names of each server's groups, in order."""
    ports = (
        select(Port.server_id, SecurityGroup.name, SecurityGroup.id)
        .join(PortGroup, PortGroup.port_id == Port.id)
        .join(SecurityGroup, SecurityGroup.id == PortGroup.group_id)
        .where(among(session, Port.server_id, server_ids))
    )
    asked = (
        select(ServerSecurityGroup.server_id, SecurityGroup.name, SecurityGroup.id)
        .join(SecurityGroup, SecurityGroup.id == ServerSecurityGroup.group_id)
        .where(
            among(session, ServerSecurityGroup.server_id, server_ids),
            ~exists().where(Port.server_id == ServerSecurityGroup.server_id),
        )
    )
    both = union(ports, asked).subquery()
    found: dict[str, list[str]] = {}
    query = select(both.c.server_id, both.c.name).order_by(both.c.name, both.c.id)
    for server_id, name in session.execute(query):
        found.setdefault(server_id, []).append(name)
    return found


def of_server(session: Session, server_id: str) -> list[SecurityGroup]:
    """A server's groups."""
    ports = select(PortGroup.group_id).join(Port, Port.id == PortGroup.port_id)
    asked = select(ServerSecurityGroup.group_id).where(
        ServerSecurityGroup.server_id == server_id,
        ~exists().where(Port.server_id == server_id),
    )
    ids = union(ports.where(Port.server_id == server_id), asked).subquery()
    query = select(SecurityGroup).where(SecurityGroup.id.in_(select(ids.c.group_id)))
    return list(session.scalars(query.order_by(SecurityGroup.name, SecurityGroup.id)))


def add(session: Session, caller: Caller, server_id: str, name: str) -> Server:
    """Put all of a server's ports into a group, by name or id. Raises NotFound."""
    server, group = _both(session, caller, server_id, name)
    for port in _ports(session, server.id):
        if session.get(PortGroup, (port, group)) is None:
            session.execute(insert(PortGroup).values(port_id=port, group_id=group))
    if session.get(ServerSecurityGroup, (server.id, group)) is None:
        session.add(ServerSecurityGroup(server_id=server.id, group_id=group))
    _tell(session, server)
    return server


def remove(session: Session, caller: Caller, server_id: str, name: str) -> Server:
    """Take all of a server's ports out of a group. Raises NotFound when none is in it."""
    server, group = _both(session, caller, server_id, name)
    if group not in {one.id for one in of_server(session, server.id)}:
        raise NotFound(
            f"Security group {name} not associated with the instance {server.id}",
        )
    ports = _ports(session, server.id)
    session.execute(
        delete(PortGroup).where(PortGroup.group_id == group, PortGroup.port_id.in_(ports))
    )
    session.execute(
        delete(ServerSecurityGroup).where(
            ServerSecurityGroup.group_id == group, ServerSecurityGroup.server_id == server.id
        )
    )
    _tell(session, server)
    return server


def _both(session: Session, caller: Caller, server_id: str, name: str) -> tuple[Server, str]:
    server = servers.hold(session, caller, server_id)
    servers.check_unlocked(caller, server)
    security_groups.ensure_default(session, server.project_id)
    ((group, _),) = security_groups.named(session, server.project_id, [name])
    return server, group


def _ports(session: Session, server_id: str) -> list[str]:
    """The server's ports that are filtered. Raises Invalid when all of them are open."""
    rows = session.execute(
        select(Port.id, Port.port_security_enabled)
        .where(Port.server_id == server_id)
        .order_by(Port.id)
    ).all()
    found = [row.id for row in rows if row.port_security_enabled]
    if rows and not found:
        raise Invalid(
            f"Port security is off for all ports of instance {server_id}: they are in no groups."
        )
    return found


def _tell(session: Session, server: Server) -> None:
    session.flush()
    if server.host is not None:
        host_networking.touch(session, [server.host])
