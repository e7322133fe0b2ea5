"""Claims: capacity taken on a host, by compare-and-swap; used == SUM(allocations) always."""

from __future__ import annotations

import typing
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Float, Table, bindparam, cast, delete, insert, select, update
from sqlalchemy.orm import Session

from app.domain.resources import NOTHING, Resources
from app.errors import Conflict
from app.models import Allocation, Host
from app.store import hosts
from app.store.server_groups import Placed


@dataclass(frozen=True)
class Wanted:
    """What one server is to hold on one of `hosts`, the first of them that has room.

    Its `group`, if it is in one with a hard policy, is asked too.
    """

    server_id: str
    hosts: Sequence[str]
    resources: Resources
    group: Placed | None = None


def choose(held: Mapping[str, Host], wanted: Sequence[Wanted]) -> dict[str, str]:
    """For each server that finds room its host; those before it take from the later ones.

    `held` are the locked rows, by name. Nothing is written.
    """
    taken: dict[str, Resources] = {}
    found = {}
    for one in wanted:
        for name in one.hosts:
            if one.group is not None and not one.group.admits(name):
                continue
            host = held.get(name)
            after = taken.get(name, NOTHING) + one.resources
            if host is not None and hosts.usable(host) and _has_room(host, after):
                taken[name] = after
                found[one.server_id] = name
                if one.group is not None:
                    one.group.take(name)
                break
    return found


def take(session: Session, chosen: Mapping[str, str], sizes: Mapping[str, Resources]) -> None:
    """Claim for every server id its host, in two statements for all of them.

    The hosts must be locked, and `choose` have found room. Raises Conflict, with nothing claimed
    that the caller may keep, when a host had none after all.
    """
    sums: dict[str, Resources] = {}
    counts = Counter(chosen.values())
    for server_id, name in chosen.items():
        sums[name] = sums.get(name, NOTHING) + sizes[server_id]
    rows = [{"host_name": name, "n": counts[name], **_numbers(size)} for name, size in sums.items()]
    if not rows:
        return
    done = session.connection().execute(_CLAIM, rows)
    if done.rowcount != len(rows):
        raise Conflict("a host had less room than its locked row said", code="claim_lost")
    allocations = [
        {"server_id": server_id, "host": name, **sizes[server_id].__dict__}
        for server_id, name in chosen.items()
    ]
    session.execute(insert(Allocation), allocations)


def _numbers(size: Resources) -> dict[str, int]:
    return {"cpus": size.vcpus, "ram": size.ram_mb, "disk": size.disk_gb}


def _has_room(host: Host, more: Resources) -> bool:
    return (
        host.used_vcpus + more.vcpus <= host.vcpus * host.cpu_ratio
        and host.used_ram_mb + more.ram_mb <= (host.ram_mb - host.reserved_ram_mb) * host.ram_ratio
        and host.used_disk_gb + more.disk_gb <= host.disk_gb * host.disk_ratio
    )


_CLAIM = (
    update(typing.cast("Table", Host.__table__))
    .where(
        Host.name == bindparam("host_name"),
        Host.state == hosts.UP,
        Host.enabled.is_(True),
        Host.forced_down.is_(False),
        Host.used_vcpus + bindparam("cpus") <= cast(Host.vcpus, Float) * Host.cpu_ratio,
        Host.used_ram_mb + bindparam("ram")
        <= cast(Host.ram_mb - Host.reserved_ram_mb, Float) * Host.ram_ratio,
        Host.used_disk_gb + bindparam("disk") <= cast(Host.disk_gb, Float) * Host.disk_ratio,
    )
    .values(
        used_vcpus=Host.used_vcpus + bindparam("cpus"),
        used_ram_mb=Host.used_ram_mb + bindparam("ram"),
        used_disk_gb=Host.used_disk_gb + bindparam("disk"),
        servers=Host.servers + bindparam("n"),
    )
)
"""The compare-and-swap: it holds whatever the caller believes of the row."""


def release(session: Session, server_id: str, host: str) -> None:
    """Free what the server holds on `host`; nothing when it holds nothing there."""
    held = session.scalars(
        select(Allocation)
        .where(Allocation.server_id == server_id, Allocation.host == host)
        .with_for_update()
    ).first()
    if held is None:
        return
    session.execute(
        delete(Allocation).where(Allocation.server_id == server_id, Allocation.host == host)
    )
    session.execute(
        update(Host)
        .where(Host.name == host)
        .values(
            used_vcpus=Host.used_vcpus - held.vcpus,
            used_ram_mb=Host.used_ram_mb - held.ram_mb,
            used_disk_gb=Host.used_disk_gb - held.disk_gb,
            servers=Host.servers - 1,
        )
    )
