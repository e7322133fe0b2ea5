"""Hosts: rows for the scheduler, states from the sweep, registration from an inventory."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, or_, select, update
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.models import Action, Cleanup, Cloud, Host, Server, horizon, now
from app.store.database import changed

UP, DOWN, RECONCILING, DRIVER_DOWN = "up", "down", "reconciling", "driver_down"


def get(session: Session, name: str) -> Host | None:
    """The host of that name."""
    return session.get(Host, name)


def all_hosts(session: Session) -> list[Host]:
    """Every host, by name."""
    return list(session.scalars(select(Host).order_by(Host.name)))


@dataclass(frozen=True)
class Changes:
    """Hosts that changed; `mark` is what the next look begins at, the rest as in `Cloud`."""

    hosts: list[Host]
    mark: int
    forgotten: int
    aggregates_revision: int


def changes_since(session: Session, mark: int) -> Changes:
    """The hosts that changed at or after `mark`, by name; all of them since 0.

    Some come twice over two looks; none is missed that changed in between.
    """
    cloud = select(horizon(), Cloud.hosts_forgotten, Cloud.aggregates_revision)
    seen = session.execute(cloud).one()
    changed_hosts = select(Host).where(Host.changed >= mark).order_by(Host.name)
    return Changes(list(session.scalars(changed_hosts)), *(int(one) for one in seen))


def away_for_a_moment(session: Session, patience: float) -> list[Host]:
    """Hosts that take no servers now, but would, were they back; heard of `patience` seconds ago
    at most."""
    return list(
        session.scalars(
            select(Host).where(
                Host.state != UP,
                Host.enabled.is_(True),
                Host.forced_down.is_(False),
                Host.last_seen >= now() - patience,
            )
        )
    )


def usable(host: Host) -> bool:
    """Whether new servers may be placed there."""
    return host.state == UP and host.enabled and not host.forced_down


def building(session: Session) -> dict[str, int]:
    """How many builds are in flight on each host that has any."""
    found = session.execute(
        select(Server.host, func.count())
        .join(Action, Action.server_id == Server.id)
        .where(Action.finished_at.is_(None), Action.kind == "create", Server.host.is_not(None))
        .group_by(Server.host)
    )
    return {str(name): count for name, count in found}


def of_servers(session: Session, server_ids: Collection[str]) -> set[str]:
    """The hosts that these servers are on."""
    wanted = (Server.id.in_(server_ids), Server.deleted_at.is_(None), Server.host.is_not(None))
    return {str(name) for name in session.scalars(select(Server.host).where(*wanted))}


def owing_cleanups(session: Session, server_ids: Collection[str]) -> dict[str, frozenset[str]]:
    """For each server of which hosts still have something to remove, these hosts."""
    rows = session.execute(
        select(Cleanup.server_id, Cleanup.host).where(Cleanup.server_id.in_(server_ids))
    )
    found: dict[str, set[str]] = {}
    for server_id, host in rows:
        found.setdefault(server_id, set()).add(host)
    return {server_id: frozenset(names) for server_id, names in found.items()}


def register(session: Session, name: str, uuid: str, facts: dict[str, Any]) -> Host:
    """The host's row, made or brought up to date from `facts` (its columns).

    Raises Conflict when the name belongs to another machine.
    """
    host = session.scalars(select(Host).where(Host.name == name).with_for_update()).first()
    if host is None:
        session.execute(select(Cloud.id).with_for_update())  # numbers are given one by one
        number = (session.scalar(select(func.max(Host.number))) or 0) + 1
        host = Host(name=name, uuid=uuid, number=number, **facts)
        session.add(host)
    elif host.uuid != uuid:
        raise Conflict(
            f"host name {name} belongs to the machine {host.uuid}, not to {uuid}: give this one "
            "another name",
            code="second_identity",
        )
    else:
        for column, value in facts.items():
            setattr(host, column, value)
    session.flush()
    return host


def set_state(session: Session, name: str, was: str, state: str) -> bool:
    """Move a host's state; False when somebody else moved it first."""
    move = update(Host).where(Host.name == name, Host.state == was).values(state=state)
    return changed(session, move) == 1


def lock(session: Session, names: Collection[str]) -> None:
    """Lock these hosts in one order: whoever claims on several cannot deadlock with another."""
    session.execute(
        select(Host.name).where(Host.name.in_(names)).order_by(Host.name).with_for_update()
    )


def hold(session: Session, names: Collection[str]) -> dict[str, Host]:
    """The same, and their rows as they are now that nobody else can change them, by name."""
    held = select(Host).where(Host.name.in_(names)).order_by(Host.name).with_for_update()
    rows = session.scalars(held.execution_options(populate_existing=True))
    return {host.name: host for host in rows}


def reconciled(session: Session, name: str, host_session: str, generation: int) -> None:
    """Note that an inventory has been compared; a host that waited for it is up again."""
    session.execute(
        update(Host)
        .where(Host.name == name, Host.session == host_session)
        .values(
            generation=generation,
            generation_session=host_session,
            state=case((Host.state == RECONCILING, UP), else_=Host.state),
        )
    )


def is_reconciled(session: Session, name: str, host_session: str, generation: int) -> bool:
    """Whether that inventory has been compared already, and the host is up by it."""
    query = select(Host.name).where(Host.name == name, Host.state == UP)
    mine = (Host.generation_session == host_session, Host.generation == generation)
    return session.scalar(query.where(*mine)) is not None


def begin_session(session: Session, name: str, host_session: str) -> None:
    """Note that the host's worker began anew: nothing is placed there until reconciled."""
    session.execute(
        update(Host)
        .where(Host.name == name, or_(Host.session != host_session, Host.state == DOWN))
        .values(session=host_session, state=RECONCILING)
    )


def note_version(session: Session, name: str, speaks: int) -> None:
    """Note the newest message version that the host's worker knows."""
    session.execute(update(Host).where(Host.name == name).values(speaks=speaks))


def touch(session: Session, names: list[str]) -> None:
    """Note that these hosts were heard of just now."""
    if names:
        lock(session, names)
        heard = {"last_seen": now(), "changed": Host.changed}
        session.execute(update(Host).where(Host.name.in_(names)).values(**heard))
