"""What an operator asks of hosts: to see them, to enable, disable, declare down or forget one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid, NotFound
from app.models import Action, Allocation, Cleanup, Cloud, Host, Server, now
from app.store import aggregates, cleanups, hosts, precaches
from app.store.database import changed
from app.store.paging import Page, page_of


@dataclass(frozen=True)
class Standing:
    """A host with its servers that are not deleted, and its unfinished actions, counted."""

    host: Host
    servers: int
    workload: int


@dataclass(frozen=True)
class Taken:
    """What a project's servers take of a host."""

    project_id: str
    vcpus: int
    ram_mb: int
    disk_gb: int


def taken_by_project(session: Session, host: str) -> list[Taken]:
    """What is claimed on the host, by project in the order of their ids."""
    query = (
        select(
            Server.project_id,
            func.sum(Allocation.vcpus),
            func.sum(Allocation.ram_mb),
            func.sum(Allocation.disk_gb),
        )
        .join(Server, Server.id == Allocation.server_id)
        .where(Allocation.host == host)
        .group_by(Server.project_id)
        .order_by(Server.project_id)
    )
    return [Taken(project, int(v), int(r), int(d)) for project, v, r, d in session.execute(query)]


def overview(session: Session) -> list[dict[str, Any]]:
    """Every host by name: its state, its use, and how many seconds ago it was heard of."""
    servers = (
        select(func.count())
        .where(Allocation.host == Host.name)
        .correlate(Host)
        .scalar_subquery()
        .label("servers")
    )
    rows = session.execute(
        select(Host, servers, (now() - Host.last_seen).label("age")).order_by(Host.name)
    )
    return [_row(host, count, age) for host, count, age in rows]


def enable(session: Session, name: str) -> None:
    """Let new servers be placed on the host again. Raises NotFound."""
    change(session, name, {"enabled": True, "disabled_reason": None})


def disable(session: Session, name: str, reason: str | None) -> None:
    """Place no new servers on the host; those it has run on. Raises NotFound."""
    change(session, name, {"enabled": False, "disabled_reason": reason})


def change(session: Session, name: str, values: dict[str, Any]) -> None:
    """Set columns of a host's row. Raises NotFound, and says which hosts there are."""
    if changed(session, update(Host).where(Host.name == name).values(**values)) == 0:
        known = session.scalars(select(Host.name).order_by(Host.name).limit(20)).all()
        raise NotFound(f"no host {name!r}; there is {', '.join(known) or 'none yet'}")


def find(session: Session, *, uuid: str | None = None, number: int | None = None) -> Host:
    """The host with that uuid or number. Raises NotFound."""
    same = Host.uuid == uuid if uuid is not None else Host.number == number
    host = session.scalars(select(Host).where(same)).one_or_none()
    if host is None:
        raise NotFound(f"Service {uuid or number} not found.")
    return host


def forget(session: Session, name: str) -> None:
    """Remove a host's row; one that still runs registers anew.

    Of a host that was forced down the operator says that it is gone for good: what it still had to
    remove is written off. Raises NotFound, and Conflict while it is up, or servers, claims, actions
    or clean-ups are its.
    """
    # The cloud's row comes before any host's, as where aggregates change. A refusal undoes it.
    session.execute(update(Cloud).values(hosts_forgotten=Cloud.hosts_forgotten + 1))
    if session.scalar(select(Host.forced_down).where(Host.name == name)):
        cleanups.write_off(session, name)  # before the host is locked: servers come first
    aggregates.host_forgotten(session, name)
    host = session.scalars(select(Host).where(Host.name == name).with_for_update()).one_or_none()
    if host is None:
        raise NotFound(f"no host {name!r}")
    if host.state != hosts.DOWN:
        raise Conflict(
            f"Unable to delete compute service: {name} is {host.state}; stop its worker, or "
            "declare it down, first."
        )
    if session.scalar(select(_hosting(name))):
        raise Conflict(
            "Unable to delete compute service that is hosting instances. Migrate or delete the "
            "instances first."
        )
    if session.scalar(select(exists().where(Cleanup.host == name))):
        raise Conflict(
            f"Unable to delete compute service: {name} has still to remove what it has of "
            "deleted or moved instances. If it never comes back, force it down first."
        )
    precaches.host_forgotten(session, name)
    session.execute(delete(Host).where(Host.name == name))


def _hosting(name: str) -> ColumnElement[bool]:
    return or_(
        exists().where(Server.host == name, Server.deleted_at.is_(None)),
        exists().where(Allocation.host == name),
        exists().where(Action.host == name, Action.finished_at.is_(None)),
    )


def standings(
    session: Session,
    *,
    page: Page | None = None,
    by_number: bool = False,
    like: str | None = None,
    host: Host | None = None,
) -> list[Standing]:
    """Hosts in the order of their numbers, with what is counted on them.

    `like`: only those whose hypervisor's name contains it; `host`: that one. The page's marker
    is a number or a uuid. Raises Invalid for a bad marker.
    """
    query = _counted()
    if like is not None:
        query = query.where(_hypervisor_name().contains(like, autoescape=True))
    if host is not None:
        query = query.where(Host.name == host.name)
    if page is None:
        query = query.order_by(Host.number)
    else:
        query = page_of(query, page, Host.number, Host.name, _marker(session, page, by_number))
    return [Standing(*row) for row in session.execute(query)]


def _counted() -> Select[Any]:
    servers = select(func.count()).where(Server.host == Host.name, Server.deleted_at.is_(None))
    workload = select(func.count()).where(Action.host == Host.name, Action.finished_at.is_(None))
    return select(
        Host,
        servers.correlate(Host).scalar_subquery(),
        workload.correlate(Host).scalar_subquery(),
    )


def _hypervisor_name() -> ColumnElement[str]:
    return func.coalesce(func.nullif(Host.hostname, ""), Host.name)


def _marker(session: Session, page: Page, by_number: bool) -> Host | None:
    if page.marker is None:
        return None
    try:
        if by_number:
            return find(session, number=int(page.marker[:9]) if page.marker.isdecimal() else -1)
        return find(session, uuid=page.marker)
    except NotFound as error:
        raise Invalid(f"marker [{page.marker}] not found") from error


def servers_on(session: Session, names: Iterable[str]) -> dict[str, list[tuple[str, str]]]:
    """(id, name) of the servers on each of these hosts, deleted ones not."""
    query = (
        select(Server.host, Server.id, Server.name)
        .where(Server.host.in_(list(names)), Server.deleted_at.is_(None))
        .order_by(Server.created_at, Server.id)
    )
    found: dict[str, list[tuple[str, str]]] = {}
    for host, server_id, name in session.execute(query):
        found.setdefault(str(host), []).append((server_id, name))
    return found


def _row(host: Host, servers: int, age: float) -> dict[str, Any]:
    return {
        "name": host.name,
        "session": host.session,
        "state": "forced_down" if host.forced_down else host.state,
        "enabled": host.enabled,
        "disabled_reason": host.disabled_reason,
        "zone": host.zone,
        "address": host.address,
        "hypervisor": host.hypervisor_type,
        "servers": servers,
        "vcpus": int(host.vcpus * host.cpu_ratio),
        "used_vcpus": host.used_vcpus,
        "ram_mb": int((host.ram_mb - host.reserved_ram_mb) * host.ram_ratio),
        "used_ram_mb": host.used_ram_mb,
        "disk_gb": int(host.disk_gb * host.disk_ratio),
        "used_disk_gb": host.used_disk_gb,
        "seconds_since_seen": round(max(age, 0.0), 1),
    }
