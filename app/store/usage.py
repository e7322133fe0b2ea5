"""What projects used in a period: from the rows of servers, deleted ones too.

A server counts from its launch to its end, at the size that it has; one that never ran does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Row, Select, case, cast, func, select, true
from sqlalchemy.orm import Session

from app.errors import Invalid
from app.models import Server
from app.store.paging import Page

_CHUNK = 1000


@dataclass(frozen=True)
class Period:
    """From `start` to `stop`, in seconds since the epoch."""

    start: float
    stop: float


@dataclass(frozen=True)
class Total:
    """One project's use. Hours of servers, and the same times MiB, vCPUs and GiB of disk.

    `servers` is how many that are, `last_server` the greatest of their ids.
    """

    project_id: str
    hours: float = 0.0
    memory_mb: float = 0.0
    vcpus: float = 0.0
    local_gb: float = 0.0
    servers: int = 0
    last_server: str = ""


@dataclass(frozen=True)
class Used:
    """One server's use in a period; `ended_at` None: it is still there."""

    server_id: str
    name: str
    project_id: str
    flavor: str
    memory_mb: int
    vcpus: int
    local_gb: int
    vm_state: str
    started_at: float
    ended_at: float | None
    hours: float


def totals(session: Session, period: Period, page: Page | None = None) -> list[Total]:
    """Every project's use, by project; with a page, that of its servers only.

    Raises Invalid for a bad marker.
    """
    part = _servers(session, period, None, page).subquery()
    hours = part.c.seconds / 3600.0
    query = select(
        part.c.project_id,
        func.sum(hours),
        func.sum(hours * part.c.memory_mb),
        func.sum(hours * part.c.vcpus),
        func.sum(hours * part.c.local_gb),
        func.count(),
        func.max(part.c.id),
    )
    rows = session.execute(query.group_by(part.c.project_id).order_by(part.c.project_id))
    return [Total(*row) for row in rows]


def servers(
    session: Session, period: Period, project_id: str | None = None, page: Page | None = None
) -> Iterator[Used]:
    """Each server's use, by id, read in parts. Raises Invalid for a bad marker."""
    query = _servers(session, period, project_id, page)
    for row in session.execute(query.execution_options(yield_per=_CHUNK)):
        yield _used(row)


def _used(row: Row[*tuple[Any, ...]]) -> Used:
    return Used(
        server_id=row.id,
        name=row.name,
        project_id=row.project_id,
        flavor=row.flavor_name,
        memory_mb=row.memory_mb,
        vcpus=row.vcpus,
        local_gb=row.local_gb,
        vm_state=row.vm_state,
        started_at=row.launched_at,
        ended_at=row.ended_at,
        hours=row.seconds / 3600.0,
    )


def _servers(
    session: Session, period: Period, project_id: str | None, page: Page | None
) -> Select[*tuple[Any, ...]]:
    """The servers that ran in the period, by id, with the seconds that they did."""
    ended = func.coalesce(Server.terminated_at, Server.deleted_at)
    begun = Server.launched_at
    until = case((ended < period.stop, ended), else_=period.stop)
    since = case((begun > period.start, begun), else_=period.start)
    query: Select[*tuple[Any, ...]] = select(
        Server.id,
        Server.name,
        Server.project_id,
        Server.flavor_name,
        Server.ram_mb.label("memory_mb"),
        Server.vcpus,
        (cast(Server.disk_gb, BigInteger) + Server.ephemeral_gb).label("local_gb"),
        Server.vm_state,
        Server.launched_at,
        ended.label("ended_at"),
        (until - since).label("seconds"),
    ).where(begun < period.stop, (ended.is_(None)) | (ended > period.start))
    owner = true() if project_id is None else Server.project_id == project_id
    query = query.where(owner).order_by(Server.id)
    return query if page is None else _paged(session, query, owner, page)


def _paged(
    session: Session, query: Select[*tuple[Any, ...]], owner: ColumnElement[bool], page: Page
) -> Select[*tuple[Any, ...]]:
    if page.marker is not None:
        seen = select(Server.id).where(Server.id == page.marker, owner)
        if session.scalar(seen) is None:
            raise Invalid(f"marker [{page.marker}] not found")
        query = query.where(Server.id > page.marker)
    return query.limit(page.limit)
