"""What is claimed on hosts, against servers, sums and limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from app.models import Action, Allocation, Cleanup, Host, Server
from app.store import hosts

Size = tuple[int, int, int]
"""vCPUs, RAM in MiB, disk in GiB."""
NAMES = ("vcpus", "ram_mb", "disk_gb")
_HELD = (Allocation.vcpus, Allocation.ram_mb, Allocation.disk_gb)
_WANTED = (Server.vcpus, Server.ram_mb, Server.disk_gb)


@dataclass(frozen=True)
class Use:
    """A host's use as its row says, as its allocations sum up, and its limits.

    `servers` is how many its row counts, `allocations` how many there are.
    """

    host: str
    used: Size
    summed: Size
    limits: tuple[float, float, float]
    servers: int
    allocations: int


@dataclass(frozen=True)
class Held:
    """An allocation that does not fit its server. `wanted` is None when there is no server."""

    server_id: str
    host: str
    held: Size
    wanted: Size | None
    server_host: str | None
    deleted: bool

    @property
    def stray(self) -> bool:
        """Whether the server is not, or no longer, on that host."""
        return self.wanted is None or self.deleted or self.server_host != self.host


def uses(session: Session) -> list[Use]:
    """Every host's use."""
    sums = [func.coalesce(func.sum(column), 0) for column in _HELD]
    counted = func.count(Allocation.server_id)
    query: Any = select(Host, *sums, counted).outerjoin(Allocation, Allocation.host == Host.name)
    rows = session.execute(query.group_by(Host.name).order_by(Host.name))
    return [
        Use(
            host.name,
            (host.used_vcpus, host.used_ram_mb, host.used_disk_gb),
            (int(vcpus), int(ram), int(disk)),
            limits(host),
            host.servers,
            int(count),
        )
        for host, vcpus, ram, disk, count in rows
    ]


def limits(host: Host) -> tuple[float, float, float]:
    """What may be claimed on a host."""
    return (
        host.vcpus * host.cpu_ratio,
        (host.ram_mb - host.reserved_ram_mb) * host.ram_ratio,
        host.disk_gb * host.disk_ratio,
    )


def misfits(session: Session) -> list[Held]:
    """Allocations of another size than their server, or where it is not and nothing is owed."""
    owed = exists().where(
        Cleanup.server_id == Allocation.server_id, Cleanup.host == Allocation.host
    )
    at_work = exists().where(
        Action.server_id == Allocation.server_id,
        Action.host == Allocation.host,
        Action.finished_at.is_(None),
    )
    away = or_(
        Server.id.is_(None),
        Server.deleted_at.is_not(None),
        Server.host.is_distinct_from(Allocation.host),
    )
    other = or_(*(held != wanted for held, wanted in zip(_HELD, _WANTED, strict=True)))
    rows = session.execute(
        select(Allocation, Server)
        .outerjoin(Server, Server.id == Allocation.server_id)
        .where(or_(and_(away, ~owed, ~at_work), other))
        .order_by(Allocation.host, Allocation.server_id)
    )
    return [_held(allocation, server) for allocation, server in rows]


def _held(allocation: Allocation, server: Server | None) -> Held:
    return Held(
        allocation.server_id,
        allocation.host,
        (allocation.vcpus, allocation.ram_mb, allocation.disk_gb),
        None if server is None else (server.vcpus, server.ram_mb, server.disk_gb),
        None if server is None else server.host,
        server is not None and server.deleted_at is not None,
    )


def unclaimed(session: Session) -> list[tuple[str, str]]:
    """(server id, host) of servers that are on a host and hold nothing there."""
    return [(row.id, row.host or "") for row in session.execute(_unclaimed())]


def _unclaimed() -> Any:
    held = exists().where(Allocation.server_id == Server.id, Allocation.host == Server.host)
    return (
        select(Server.id, Server.host)
        .where(Server.deleted_at.is_(None), Server.host.is_not(None), ~held)
        .order_by(Server.id)
    )


def sum_up(session: Session, host: str) -> bool:
    """Set a host's use to the sum of its allocations, and count them.

    Whoever claims or frees something holds the host's row when it is committed, or waits for it.
    """
    hosts.lock(session, [host])
    summed = [
        select(func.coalesce(func.sum(column), 0)).where(Allocation.host == host).scalar_subquery()
        for column in _HELD
    ]
    counted = (
        select(func.count()).select_from(Allocation).where(Allocation.host == host)
    ).scalar_subquery()
    session.execute(
        update(Host)
        .where(Host.name == host)
        .values(
            used_vcpus=summed[0], used_ram_mb=summed[1], used_disk_gb=summed[2], servers=counted
        )
    )
    return True


def forget(session: Session, server_id: str, host: str) -> bool:
    """Free what a server that does not exist at all holds."""
    if session.scalar(select(Server.id).where(Server.id == server_id)) is not None:
        return False
    held = and_(Allocation.server_id == server_id, Allocation.host == host)
    session.execute(delete(Allocation).where(held))
    return sum_up(session, host)  # not by difference: the host's use may never have had it


def claim(session: Session, server_id: str) -> bool:
    """Have the server hold on its host what it needs; False when that is over the host's limit."""
    server = session.scalars(
        select(Server).where(Server.id == server_id).with_for_update()
    ).one_or_none()
    if server is None or server.deleted_at is not None or server.host is None:
        return False
    hosts.lock(session, [server.host])
    host = session.get_one(Host, server.host, populate_existing=True)
    wanted = (server.vcpus, server.ram_mb, server.disk_gb)
    held = session.get(Allocation, (server.id, host.name), populate_existing=True)
    before = (held.vcpus, held.ram_mb, held.disk_gb) if held is not None else (0, 0, 0)
    if wanted == before or not _fits(host, wanted, before):
        return False
    if held is None:
        held = Allocation(server_id=server.id, host=host.name)
        session.add(held)
    held.vcpus, held.ram_mb, held.disk_gb = wanted
    session.flush()
    return sum_up(session, host.name)


def _fits(host: Host, wanted: Size, before: Size) -> bool:
    used = (host.used_vcpus, host.used_ram_mb, host.used_disk_gb)
    return all(
        more <= 0 or taken + more <= limit
        for more, taken, limit in zip(
            (new - old for new, old in zip(wanted, before, strict=True)),
            used,
            limits(host),
            strict=True,
        )
    )
