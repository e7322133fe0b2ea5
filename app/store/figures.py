"""The numbers that monitoring asks for: counts and ages, never a name or id of a tenant."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Float, case, cast, func, select
from sqlalchemy.orm import Session

from app.models import Action, ActionEvent, Cleanup, Host, Server, now
from app.store.database import clock


@dataclass(frozen=True)
class Waiting:
    """Unfinished actions at one stage: how many, and the ages in seconds of the one that was
    accepted first and of the one whose ring has been due for longest (0 when none is due)."""

    stage: str
    count: int
    oldest: float
    overdue: float


@dataclass(frozen=True)
class Resource:
    """What all hosts together have, may give and have given."""

    capacity: float
    limit: float
    used: float


@dataclass(frozen=True)
class Happened:
    """Something that came to pass at `at`; `seconds` is how long it took, where that is known."""

    key: str | int
    at: float
    labels: tuple[str, ...]
    seconds: float = 0.0


def waiting(session: Session) -> list[Waiting]:
    """Unfinished actions by stage."""
    overdue = func.max(case((Action.next_ring_at < now(), now() - Action.next_ring_at), else_=0.0))
    rows = session.execute(
        select(Action.stage, func.count(), now() - func.min(Action.created_at), overdue)
        .where(Action.finished_at.is_(None))
        .group_by(Action.stage)
    )
    return [Waiting(stage, count, max(old, 0.0), late) for stage, count, old, late in rows]


def cleanups(session: Session) -> tuple[int, float]:
    """How many cleanups hosts owe, and the age of the oldest in seconds."""
    count, first = session.execute(select(func.count(), func.min(Cleanup.created_at))).one()
    return count, max(clock(session) - first, 0.0) if first is not None else 0.0


def hosts(session: Session) -> dict[str, int]:
    """Hosts by state; one that was forced down is counted as that."""
    shown = case((Host.forced_down, "forced_down"), else_=Host.state).label("shown")
    rows = session.execute(select(shown, func.count()).group_by("shown"))
    return {row[0]: row[1] for row in rows}


def disabled_hosts(session: Session) -> int:
    """Hosts on which nothing new is placed."""
    return session.scalar(select(func.count()).where(Host.enabled.is_(False))) or 0


def host_names(session: Session) -> list[str]:
    """The names of all hosts."""
    return list(session.scalars(select(Host.name).order_by(Host.name)))


def resources(session: Session) -> dict[str, Resource]:
    """All hosts' capacity, limit and use: vcpus, ram_mb (MiB) and disk_gb (GiB)."""
    placed_ram = Host.ram_mb - Host.reserved_ram_mb
    columns = {
        "vcpus": (Host.vcpus, cast(Host.vcpus, Float) * Host.cpu_ratio, Host.used_vcpus),
        "ram_mb": (Host.ram_mb, cast(placed_ram, Float) * Host.ram_ratio, Host.used_ram_mb),
        "disk_gb": (Host.disk_gb, cast(Host.disk_gb, Float) * Host.disk_ratio, Host.used_disk_gb),
    }
    flat = [
        cast(func.coalesce(func.sum(part), 0), Float)
        for parts in columns.values()
        for part in parts
    ]
    sums = list(session.execute(select(*flat)).one())
    return {name: Resource(*sums[n * 3 : n * 3 + 3]) for n, name in enumerate(columns)}


def servers(session: Session) -> dict[str, int]:
    """Servers that exist, by vm_state."""
    rows = session.execute(
        select(Server.vm_state, func.count())
        .where(Server.deleted_at.is_(None))
        .group_by(Server.vm_state)
    )
    return {row[0]: row[1] for row in rows}


def accepted(session: Session, since: float, limit: int) -> list[Happened]:
    """Actions accepted after `since`, the oldest first, by kind."""
    rows = session.execute(
        select(Action.id, Action.created_at, Action.kind)
        .where(Action.created_at > since)
        .order_by(Action.created_at)
        .limit(limit)
    )
    return [Happened(key, at, (kind,)) for key, at, kind in rows]


def finished(session: Session, since: float, limit: int) -> list[Happened]:
    """Actions that ended after `since`, the oldest first, by kind and state."""
    rows = session.execute(
        select(Action.id, Action.finished_at, Action.kind, Action.state)
        .where(Action.finished_at > since)
        .order_by(Action.finished_at)
        .limit(limit)
    )
    return [Happened(key, at or 0.0, (kind, state)) for key, at, kind, state in rows]


def stages(session: Session, since: float, limit: int) -> list[Happened]:
    """Stages that ended after `since`, the oldest first, by kind, stage, direction and result."""
    labels = (Action.kind, ActionEvent.stage, ActionEvent.direction, ActionEvent.result)
    took = ActionEvent.finished_at - ActionEvent.started_at
    rows = session.execute(
        select(ActionEvent.id, ActionEvent.finished_at, took, *labels)
        .join(Action, Action.id == ActionEvent.action_id)
        .where(ActionEvent.finished_at > since)
        .order_by(ActionEvent.finished_at)
        .limit(limit)
    )
    return [
        Happened(row[0], row[1] or 0.0, tuple(map(str, row[3:])), max(row[2] or 0.0, 0.0))
        for row in rows
    ]
