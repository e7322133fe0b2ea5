"""All that one look sees: what workers posted first, then the database at one moment.

In this order a host never seems to know more than the database: whatever a message told it was
committed before.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import redis
from sqlalchemy.orm import Session

from app.cli.doctor import postings
from app.cli.doctor.postings import Posted
from app.store import plans
from app.store.audit import addresses, capacity, hosts, images, quotas, residents, work
from app.store.audit.moment import moment, server_version
from app.store.database import clock
from app.tasks.board import Posting

SLACK_SECONDS = 15.0
"""How much longer than since its inventory a server must have been left alone to be compared: a
host looks at itself for a while before it posts what it saw."""
OLD_CLEANUP_SECONDS = 600.0


@dataclass(frozen=True)
class Rows:
    """What the database says. `clock_ahead`: of this process' clock, in seconds."""

    cloud_id: str
    kind: str
    version: tuple[int, ...]
    clock_ahead: float
    under_way: Sequence[work.UnderWay]
    waiting: Sequence[work.Idle]
    cleanups: Sequence[tuple[str, str, float, str | None]]
    uses: Sequence[capacity.Use]
    misfits: Sequence[capacity.Held]
    unclaimed: Sequence[tuple[str, str]]
    accounts: Sequence[quotas.Account]
    ports: Sequence[addresses.PortRow]
    hosts_inside: Sequence[tuple[str, str, str, str]]
    portless: Sequence[tuple[str, int, str]]
    residents: Mapping[str, residents.Resident]
    unplaced: Sequence[tuple[str, str]]
    hosts: Sequence[hosts.HostRow]
    images: Sequence[images.ImageRow]


@dataclass(frozen=True)
class Evidence:
    """One look. `posted` is None when Redis is away, and `away` says how."""

    rows: Rows
    posted: Posted | None
    away: str = ""

    def compared(self) -> Iterator[tuple[str, Posting, float]]:
        """(host, inventory, its age) of the hosts that are up and whose inventory is of now."""
        if self.posted is None:
            return
        for host in self.rows.hosts:
            posting = self.posted.inventories.get(host.name)
            up = host.state == "up" and not host.forced_down
            if up and posting is not None and posting.session == host.session:
                yield host.name, posting, self.posted.ages[host.name]

    def left_alone(self, server_id: str, age: float) -> bool:
        """Whether nothing has happened to the server since an inventory of that age."""
        found = self.rows.residents.get(server_id)
        return found is not None and found.quiet is not None and found.quiet > age + SLACK_SECONDS


def gather() -> Evidence:
    """Look once. Raises Unavailable when the database is away."""
    posted, away = None, ""
    try:
        posted = postings.read()
    except (redis.RedisError, OSError) as error:
        away = str(error).strip().partition("\n")[0] or type(error).__name__
    with moment() as session:
        return Evidence(_rows(session, posted), posted, away)


def _rows(session: Session, posted: Posted | None) -> Rows:
    shown: set[str] = set()
    for inventory in posted.inventories.values() if posted else ():
        shown |= {entry.server_id for entry in inventory.guests}
        shown |= {server_id for server_id, _ in inventory.leftovers}
    kind, version = server_version(session)
    began = time.time()
    told = clock(session)
    return Rows(
        cloud_id=plans.cloud_id(session),
        kind=kind,
        version=version,
        clock_ahead=told - (began + time.time()) / 2,
        under_way=work.under_way(session),
        waiting=work.waiting_for_nothing(session),
        cleanups=work.overdue_cleanups(session, OLD_CLEANUP_SECONDS),
        uses=capacity.uses(session),
        misfits=capacity.misfits(session),
        unclaimed=capacity.unclaimed(session),
        accounts=quotas.wrong(session),
        ports=addresses.ports(session),
        portless=addresses.nics_without_port(session),
        hosts_inside=addresses.hosts_inside(session),
        residents=residents.residents(session, shown),
        unplaced=residents.on_no_host(session),
        hosts=hosts.rows(session),
        images=images.rows(session),
    )
