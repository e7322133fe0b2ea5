"""What the run reads of the cloud's tables: each answer from one read transaction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine, func, select
from sqlalchemy.orm import Session

from app.models import Action, Allocation, Cleanup, Host, Port, QuotaUsage, Server


@contextmanager
def snapshot(engine: Engine) -> Iterator[Session]:
    """A session whose every query sees the same state of the database, and takes no lock."""
    sqlite = engine.dialect.name == "sqlite"
    level = {"reading": True} if sqlite else {"isolation_level": "REPEATABLE READ"}
    with Session(engine.execution_options(**level), expire_on_commit=False) as session:
        yield session


@dataclass(frozen=True)
class Placed:
    """Where servers are, what hosts owe (with the server's fence), and the hosts' sessions."""

    living: dict[str, tuple[str | None, int]]
    owed: dict[tuple[str, str], int]
    busy: frozenset[tuple[str, str]]
    crowded: tuple[str, ...]
    sessions: dict[str, str]

    def is_free(self, server_id: str, host: str) -> bool:
        """Whether `host` has confirmed that nothing of the server is there, nor comes there."""
        place = (server_id, host)
        here = self.living.get(server_id, (None, 0))[0] == host
        return not here and place not in self.owed and place not in self.busy


def placed(session: Session) -> Placed:
    """Where everything is now."""
    living = select(Server.id, Server.host, Server.fence).where(Server.deleted_at.is_(None))
    busy = session.execute(
        select(Action.server_id, Action.host).where(Action.finished_at.is_(None))
    ).all()
    owed = session.execute(
        select(Cleanup.server_id, Cleanup.host, Server.fence).join(
            Server, Server.id == Cleanup.server_id
        )
    )
    counted = Counter(row.server_id for row in busy)
    return Placed(
        {row.id: (row.host, row.fence) for row in session.execute(living)},
        {(row.server_id, row.host): row.fence for row in owed},
        frozenset((row.server_id, row.host) for row in busy if row.host),
        tuple(server_id for server_id, number in counted.items() if number > 1),
        {row.name: row.session for row in session.execute(select(Host.name, Host.session))},
    )


def overcommitted(session: Session) -> dict[str, str]:
    """Hosts whose use is not the sum of their allocations, or above their limits; and how."""
    sums = (
        select(
            Allocation.host,
            func.sum(Allocation.vcpus).label("vcpus"),
            func.sum(Allocation.ram_mb).label("ram_mb"),
            func.sum(Allocation.disk_gb).label("disk_gb"),
        )
        .group_by(Allocation.host)
        .subquery()
    )
    found = session.execute(
        select(Host, sums.c.vcpus, sums.c.ram_mb, sums.c.disk_gb).outerjoin(
            sums, sums.c.host == Host.name
        )
    )
    wrong = {}
    for host, *summed in found:
        claimed = [int(one or 0) for one in summed]
        used = [host.used_vcpus, host.used_ram_mb, host.used_disk_gb]
        limits = [
            host.vcpus * host.cpu_ratio,
            (host.ram_mb - host.reserved_ram_mb) * host.ram_ratio,
            host.disk_gb * host.disk_ratio,
        ]
        if used != claimed or any(u > limit for u, limit in zip(used, limits, strict=True)):
            wrong[host.name] = f"used {used}, allocations {claimed}, limits {limits}"
    return wrong


def unfinished(session: Session) -> list[str]:
    """What has not ended: actions and cleanups, a line each."""
    actions = session.scalars(select(Action).where(Action.finished_at.is_(None)))
    lines = [
        f"{one.kind} {one.id} of {one.server_id}: stage {one.stage} {one.direction} on {one.host},"
        f" rung {one.rings} times, {one.message or 'no message'}"
        for one in actions
    ]
    return lines + [
        f"cleanup of {one.server_id} on {one.host} at fence {one.fence}, rung {one.rings} times"
        for one in session.scalars(select(Cleanup))
    ]


def held(session: Session) -> list[str]:
    """Claims, addresses and quota use that no living server stands for, a line each."""
    living = {
        one.id: one for one in session.scalars(select(Server).where(Server.deleted_at.is_(None)))
    }
    lines = []
    for allocation in session.scalars(select(Allocation)):
        server = living.get(allocation.server_id)
        if server is None or server.host != allocation.host:
            where = server.host if server else "no host: it is gone"
            lines.append(
                f"allocation of {allocation.server_id} on {allocation.host}; it is on {where}"
            )
    for port in session.scalars(select(Port)):
        if port.server_id not in living:
            lines.append(f"port {port.address} of {port.server_id}, which is gone")
    for use in session.scalars(select(QuotaUsage)):
        mine = [one for one in living.values() if one.project_id == use.project_id]
        want = {
            "instances": len(mine),
            "cores": sum(one.vcpus for one in mine),
            "ram": sum(one.ram_mb for one in mine),
        }.get(use.resource, use.in_use)
        if use.in_use != want:
            lines.append(f"quota use of {use.resource}: {use.in_use}, servers make {want}")
    return lines
