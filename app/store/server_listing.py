"""Reading servers: lists, one, and what their views need besides, in a fixed number of queries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from sqlalchemy import Select, inspect, select
from sqlalchemy.exc import DataError
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.errors import Invalid, NotFound
from app.models import Action, Cloud, FloatingIp, Host, Network, Port, Server
from app.store import server_groups, server_security, server_tags
from app.store.among import among
from app.store.paging import in_order
from app.store.server_filters import ServerQuery, narrowed


@dataclass(frozen=True)
class Nic:
    """An address of a server, with the name of its network; `floating` ones stand for it."""

    network_name: str
    mac: str
    address: str
    floating: tuple[str, ...] = ()


@dataclass(frozen=True)
class HostFacts:
    """What server views say of a host."""

    hostname: str
    state: str
    enabled: bool
    zone: str


@dataclass(frozen=True)
class Extras:
    """What the views of some servers need besides their rows, keyed by server id or host name.

    `running` is the unfinished action of a server: its id and its progress in percent. `groups`
    is empty for lists, which do not show server groups.
    """

    cloud_id: str

    nics: dict[str, list[Nic]]
    hosts: dict[str, HostFacts]
    running: dict[str, tuple[str, int]]
    tags: dict[str, list[str]]
    security_groups: dict[str, list[str]]
    groups: dict[str, str] = field(default_factory=dict)


def page(session: Session, caller: Caller, wanted: ServerQuery) -> list[Server]:
    """Servers that the caller may see, filtered and in order. Raises Invalid for a bad marker."""
    query = narrowed(_scope(caller, wanted), wanted)
    marker = _marker(session, caller, wanted)
    query = in_order(query, wanted.keys(), Server.id, marker).limit(wanted.page.limit)
    # Plain rows with a Server's attributes: for long lists they cost half of what objects do.
    columns = [getattr(Server, attr.key) for attr in inspect(Server).column_attrs]
    try:
        return cast(list[Server], session.execute(query.with_only_columns(*columns)).all())
    except DataError as error:  # PostgreSQL's own view of a regular expression or a number
        raise Invalid("a filter's value is not valid") from error


def _scope(caller: Caller, wanted: ServerQuery) -> Select[Server]:
    query = select(Server)
    if not wanted.all_projects:
        return query.where(Server.project_id == caller.project_id)
    if wanted.project_id is not None:
        return query.where(Server.project_id == wanted.project_id)
    return query


def _marker(session: Session, caller: Caller, wanted: ServerQuery) -> Server | None:
    if wanted.page.marker is None:
        return None
    marker = session.scalars(_scope(caller, wanted).where(Server.id == wanted.page.marker)).first()
    if marker is None:
        raise Invalid(f"marker [{wanted.page.marker}] not found")
    return marker


def get(session: Session, caller: Caller, server_id: str, *, deleted: bool = False) -> Server:
    """One server that the caller may see, else NotFound; deleted ones only when asked for."""
    query = select(Server).where(Server.id == server_id)
    if not caller.is_admin:
        query = query.where(Server.project_id == caller.project_id)
    if not deleted:
        query = query.where(Server.deleted_at.is_(None))
    server = session.scalars(query).first()
    if server is None:
        raise NotFound(f"Instance {server_id} could not be found.")
    caller.hold(server.id, server.project_id, server.user_id)
    return server


def extras(session: Session, servers: Sequence[Server], *, groups: bool = False) -> Extras:
    """Addresses, hosts, running actions, tags and security groups: six queries, however many.

    One more when their server groups are wanted.
    """
    ids = [server.id for server in servers]
    names = {server.host for server in servers if server.host}
    return Extras(
        cloud_id(session),
        _nics(session, ids),
        _hosts(session, names),
        _running(session, ids),
        server_tags.by_server(session, ids),
        server_security.names(session, ids),
        server_groups.by_server(session, ids) if groups else {},
    )


def cloud_id(session: Session) -> str:
    """The cloud's id, which the names of its guests bear."""
    return session.scalar(select(Cloud.id)) or ""


def _nics(session: Session, ids: list[str]) -> dict[str, list[Nic]]:
    query = (
        select(
            Port.server_id,
            Network.name,
            Port.mac,
            Port.address,
            FloatingIp.address.label("floating"),
        )
        .join(Network, Network.id == Port.network_id)
        .outerjoin(FloatingIp, FloatingIp.port_id == Port.id)
        .where(among(session, Port.server_id, ids), Port.address.is_not(None))
        .order_by(Port.position, Port.id)
    )
    found: dict[str, list[Nic]] = {}
    rows: Iterable[Any] = session.execute(query)  # none of a port without server or address
    for server_id, network, mac, address, floating in rows:
        nic = Nic(network, mac, address, (floating,) if floating else ())
        found.setdefault(server_id, []).append(nic)
    return found


def _hosts(session: Session, names: Iterable[str]) -> dict[str, HostFacts]:
    query = select(Host.name, Host.hostname, Host.state, Host.enabled, Host.zone)
    return {
        row.name: HostFacts(row.hostname, row.state, row.enabled, row.zone)
        for row in session.execute(query.where(Host.name.in_(list(names))))
    }


def _running(session: Session, ids: list[str]) -> dict[str, tuple[str, int]]:
    query = select(Action.server_id, Action.id, Action.progress).where(
        among(session, Action.server_id, ids), Action.finished_at.is_(None)
    )
    return {row.server_id: (row.id, row.progress) for row in session.execute(query)}


def reservation(session: Session, server_id: str) -> str:
    """The reservation that a server was made in."""
    return session.scalars(select(Server.reservation_id).where(Server.id == server_id)).one()


def zones(session: Session) -> dict[str, list[Host]]:
    """All hosts by availability zone."""
    found: dict[str, list[Host]] = {}
    for host in session.scalars(select(Host).order_by(Host.zone, Host.name)):
        found.setdefault(host.zone, []).append(host)
    return found
