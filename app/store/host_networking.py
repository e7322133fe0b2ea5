"""What each host is to put into force for its guests' networking, and how far it is.

Whoever changes a rule raises `wanted` of the hosts that it concerns, in the same transaction;
the sweep rings a host until it has applied what stands there. Rows are locked by host name, and
after all others.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.domain.networking import (
    Floating,
    GuardedPort,
    Networking,
    Rule,
    Segment,
    network_of,
    part,
)
from app.models import (
    FloatingIp,
    HostNetworking,
    Network,
    Port,
    PortGroup,
    Router,
    SecurityRule,
    Server,
    Subnet,
    now,
)

INTERFACE = "network:router_interface"
LIMIT = 200
BACKOFF = (2.0, 4.0, 8.0, 16.0, 30.0)


def of_groups(session: Session, group_ids: Collection[str]) -> set[str]:
    """The hosts that have ports in one of these groups."""
    query = (
        select(Server.host)
        .join(Port, Port.server_id == Server.id)
        .join(PortGroup, PortGroup.port_id == Port.id)
        .where(PortGroup.group_id.in_(group_ids), Server.host.is_not(None))
        .distinct()
    )
    return {str(host) for host in session.scalars(query)}


def of_ports(session: Session, port_ids: Collection[str]) -> set[str]:
    """The hosts that these ports are on."""
    query = (
        select(Server.host)
        .join(Port, Port.server_id == Server.id)
        .where(Port.id.in_(port_ids), Server.host.is_not(None))
    )
    return {str(host) for host in session.scalars(query)}


def of_subnets(session: Session, subnet_ids: Collection[str]) -> set[str]:
    """The hosts that have guests in these subnets."""
    query = (
        select(Server.host)
        .join(Port, Port.server_id == Server.id)
        .where(Port.subnet_id.in_(subnet_ids), Server.host.is_not(None))
        .distinct()
    )
    return {str(host) for host in session.scalars(query)}


def touch(session: Session, hosts: Iterable[str]) -> None:
    """Have these hosts told anew, after this transaction."""
    names = sorted(set(hosts))
    if not names:
        return
    session.flush()
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    insert: Any = (sqlite if on_sqlite else postgresql).insert(HostNetworking)
    rows = [{"host": name, "wanted": 0, "applied": 0, "rings": 0, "fault": ""} for name in names]
    session.execute(
        insert.values([row | {"next_ring_at": now()} for row in rows]).on_conflict_do_nothing()
    )
    these = HostNetworking.host.in_(names)
    session.execute(
        select(HostNetworking.host).where(these).order_by(HostNetworking.host).with_for_update()
    )
    raised = {"wanted": HostNetworking.wanted + 1, "next_ring_at": now(), "rings": 0}
    session.execute(
        update(HostNetworking)
        .where(these)
        .values(**raised)
        .execution_options(synchronize_session=False)
    )


def renew(session: Session, host: str) -> None:
    """A new session: have the host told all, if it has guests with ports."""
    query = select(Port.id).join(Server, Server.id == Port.server_id).where(Server.host == host)
    if session.scalar(query.limit(1)) is not None:
        touch(session, [host])


def due(session: Session, reachable: Collection[str]) -> list[str]:
    """Hosts that are behind and are to be rung now; taking them moves their next ring on."""
    rows = session.execute(
        select(HostNetworking.host, HostNetworking.rings)
        .where(
            HostNetworking.applied < HostNetworking.wanted,
            HostNetworking.next_ring_at <= now(),
            HostNetworking.host.in_(reachable),
        )
        .order_by(HostNetworking.host)
        .limit(LIMIT)
        .with_for_update(skip_locked=True)
    ).all()
    for host, rings in rows:
        after = BACKOFF[min(rings, len(BACKOFF) - 1)]
        session.execute(
            update(HostNetworking)
            .where(HostNetworking.host == host)
            .values(next_ring_at=now() + after, rings=rings + 1)
        )
    return [host for host, _ in rows]


def not_sent(session: Session, hosts: Collection[str]) -> None:
    """A ring that did not happen does not count."""
    session.execute(
        update(HostNetworking)
        .where(HostNetworking.host.in_(hosts))
        .values(next_ring_at=now(), rings=0)
    )


def applied(session: Session, host: str, revision: int, fault: str) -> None:
    """A host's word that it is at `revision`, or why it could not get there."""
    row = session.scalars(
        select(HostNetworking).where(HostNetworking.host == host).with_for_update()
    ).first()
    if row is None:
        return
    row.fault = fault
    if not fault:
        row.applied = max(row.applied, min(revision, row.wanted))


def revision(session: Session, host: str) -> int:
    """What the host is to be at. Read it before what it stands for: that may only be newer."""
    found = session.scalar(select(HostNetworking.wanted).where(HostNetworking.host == host))
    return found or 0


def of_host(session: Session, host: str) -> Networking:
    """All of the host's networking as it is to be."""
    at = revision(session, host)
    query = select(Port).join(Server, Server.id == Port.server_id).where(Server.host == host)
    return _networking(session, at, list(session.scalars(query.order_by(Port.id))))


def of_server(session: Session, server: Server) -> Networking:
    """The part of its host's networking that one server needs."""
    ahead: dict[str, Networking] = session.info.get("networking_ahead", {})
    if server.id in ahead:
        return ahead[server.id]
    at = revision(session, server.host or "")
    query = select(Port).where(Port.server_id == server.id).order_by(Port.id)
    return _networking(session, at, list(session.scalars(query)))


def look_ahead(session: Session, servers: Sequence[Server]) -> None:
    """Read at once what many servers need; for a session that only reads."""
    hosts = {server.host for server in servers if server.host}
    query = select(HostNetworking.host, HostNetworking.wanted)
    rows = session.execute(query.where(HostNetworking.host.in_(hosts)))
    at = {row.host: row.wanted for row in rows}
    ids = [server.id for server in servers]
    ports = select(Port).where(Port.server_id.in_(ids)).order_by(Port.id)
    every = _networking(session, 0, list(session.scalars(ports)))
    session.info["networking_ahead"] = {
        server.id: part(every, server.id, at.get(server.host or "", 0)) for server in servers
    }


def _networking(session: Session, at: int, ports: list[Port]) -> Networking:
    ids = [port.id for port in ports]
    groups: dict[str, list[str]] = {}
    for row in session.execute(
        select(PortGroup.port_id, PortGroup.group_id)
        .where(PortGroup.port_id.in_(ids))
        .order_by(PortGroup.group_id)
    ):
        groups.setdefault(row.port_id, []).append(row.group_id)
    segments = _segments(session, {port.subnet_id for port in ports if port.subnet_id})
    guarded = tuple(
        GuardedPort(
            id=port.id,
            server_id=str(port.server_id),
            mac=port.mac,
            address=port.address,
            segment=segments[port.subnet_id].id if port.subnet_id else "",
            groups=tuple(groups.get(port.id, ())),
            secured=port.port_security_enabled,
            pairs=tuple((one["ip_address"], one["mac_address"]) for one in port.address_pairs),
        )
        for port in ports
    )
    return Networking(
        revision=at,
        ports=guarded,
        groups=_rules(session, {group for found in groups.values() for group in found}),
        segments=tuple({one.id: one for one in segments.values()}.values()),
        floating=_floating(session, guarded),
    )


def _rules(session: Session, group_ids: Collection[str]) -> dict[str, tuple[Rule, ...]]:
    found: dict[str, list[Rule]] = {group: [] for group in sorted(group_ids)}
    query = select(SecurityRule).where(
        SecurityRule.group_id.in_(group_ids), SecurityRule.ethertype == "IPv4"
    )
    for row in session.scalars(query.order_by(SecurityRule.group_id, SecurityRule.id)):
        found[row.group_id].append(
            Rule(
                direction=row.direction,
                protocol=row.protocol,
                port_min=row.port_min,
                port_max=row.port_max,
                remote_ip=network_of(row.remote_ip),
                remote_group=row.remote_group_id,
            )
        )
    return {group: tuple(rules) for group, rules in found.items()}


def _segments(session: Session, subnet_ids: Collection[str]) -> dict[str, Segment]:
    routers: dict[str, Router] = {}
    for subnet_id, router in session.execute(
        select(Port.subnet_id, Router)
        .join(Router, Router.id == Port.device_id)
        .where(
            Port.subnet_id.in_(subnet_ids),
            Port.device_owner == INTERFACE,
            Router.admin_state_up,
        )
    ):
        routers[str(subnet_id)] = router
    found: dict[str, Segment] = {}
    for subnet, kind in session.execute(
        select(Subnet, Network.network_type)
        .join(Network, Network.id == Subnet.network_id)
        .where(Subnet.id.in_(subnet_ids))
    ):
        led = routers.get(subnet.id)
        found[subnet.id] = Segment(
            id=subnet.segment or subnet.network_id,
            cidr=subnet.cidr,
            nat=kind == "nat",
            router=led.id if led else None,
            uplink=bool(led and led.external_network_id and led.enable_snat),
        )
    return found


def _floating(session: Session, ports: Collection[GuardedPort]) -> tuple[Floating, ...]:
    by_id = {port.id: port for port in ports}
    query = select(FloatingIp.address, FloatingIp.port_id).where(FloatingIp.port_id.in_(by_id))
    return tuple(
        Floating(row.address, by_id[row.port_id].address or "", by_id[row.port_id].segment)
        for row in session.execute(query.order_by(FloatingIp.address))
        if by_id[row.port_id].address
    )
