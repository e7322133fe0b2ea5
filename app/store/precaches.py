"""Images that hosts are to fetch into their caches ahead of any build, and how far each is.

A row is rung like a stage until its host has said how it went, or its deadline is past: like
everything that was accepted, it ends in its goal or in a visible fault.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from sqlalchemy import delete, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.domain.advice import advised
from app.domain.message import Fault
from app.models import Host, Precache, new_id, now
from app.models.precache import CACHED, FAILED, SKIPPED, WAITING
from app.store import hosts
from app.store.database import changed, clock

AT_ONCE = 2
"""Images that one host is asked to fetch at a time; builds' downloads are not counted."""
MOST_TRIES = 3
LIMIT = 200
ROWS_AT_ONCE = 1000
"""What one transaction asks for at most: others wait to write for a tenth of a second, not more."""
BACKOFF = (2.0, 4.0, 8.0, 16.0, 30.0)
SEEN_SECONDS = 10.0
_STAGE = "precache"


def groups(names: Collection[str], images: int) -> Iterator[list[str]]:
    """The hosts, as many at a time as one transaction should ask for so many images."""
    size = max(1, ROWS_AT_ONCE // max(1, images))
    ordered = sorted(names)
    for first in range(0, len(ordered), size):
        yield ordered[first : first + size]


def ask(
    session: Session,
    names: Collection[str],
    image_ids: Collection[str],
    request_id: str,
    seconds: float,
) -> None:
    """Have these hosts fetch these images within `seconds`; `groups` says how many at a time.

    One that is not enabled, or down, is skipped, and the row says so. What still waits of an
    earlier request goes on, with the new deadline; what has ended begins anew, with a new id.
    """
    found = session.scalars(select(Host).where(Host.name.in_(names)).order_by(Host.name)).all()
    about = Precache.host.in_([host.name for host in found]) & Precache.image_id.in_(image_ids)
    standing = select(Precache.id, Precache.state).where(about)
    # Locked by one order, for two requests never to wait for each other.
    standing = standing.order_by(Precache.host, Precache.image_id).with_for_update()
    ended = [id_ for id_, state in session.execute(standing) if state != WAITING]
    session.execute(delete(Precache).where(Precache.id.in_(ended)))
    rows = []
    for host in found:
        values = _asked(session, host, request_id, seconds)
        rows += [values | {"id": new_id(), "image_id": one} for one in sorted(image_ids)]
    if rows:
        _insert(session, rows)
    deadline = clock(session) + seconds
    waits = about & (Precache.state == WAITING) & (Precache.deadline < deadline)
    session.execute(update(Precache).where(waits).values(deadline=deadline))


def _asked(session: Session, host: Host, request_id: str, seconds: float) -> dict[str, Any]:
    fault, at = _absence(host), clock(session)
    return {
        "host": host.name,
        "request_id": request_id,
        "state": SKIPPED if fault else WAITING,
        "fault": asdict(advised(fault, _STAGE, host.name)) if fault else None,
        "deadline": at + seconds,
        "finished_at": at if fault else None,
        "requested_at": at,
        "next_ring_at": at,
        "progress": 0,
        "message": "",
        "tries": 0,
        "rings": 0,
    }


def _absence(host: Host) -> Fault | None:
    if not host.enabled:
        return Fault("host_disabled", f"host {host.name} is disabled: it was not asked")
    if host.state not in (hosts.UP, hosts.RECONCILING):
        return Fault("host_away", f"host {host.name} is {host.state}: it was not asked")
    return None


def _insert(session: Session, rows: list[dict[str, Any]]) -> None:
    """New rows where there are none."""
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    insert: Any = (sqlite if on_sqlite else postgresql).insert(Precache.__table__)
    session.execute(insert.on_conflict_do_nothing(), rows)


def any_waiting(session: Session) -> bool:
    """Whether some host is still to fetch something."""
    return bool(session.scalar(select(exists().where(Precache.state == WAITING))))


def due(session: Session, reachable: Collection[str]) -> list[str]:
    """Ids of what these hosts are to be rung for now, at most LIMIT; only looks.

    Each host has AT_ONCE turns, the oldest requests first.
    """
    turn = func.row_number().over(
        partition_by=Precache.host, order_by=(Precache.requested_at, Precache.image_id)
    )
    turns = (
        select(Precache.id, Precache.next_ring_at, turn.label("turn"))
        .where(Precache.state == WAITING, Precache.host.in_(reachable))
        .subquery()
    )
    late = select(turns.c.id).where(turns.c.turn <= AT_ONCE, turns.c.next_ring_at <= now())
    return list(session.scalars(late.order_by(turns.c.next_ring_at, turns.c.id).limit(LIMIT)))


def take(session: Session, ids: Collection[str]) -> list[Precache]:
    """Those of the rows that are still due, for their hosts to be rung.

    Taking a row moves its next ring on, so copies of the sweep are harmless.
    """
    rows = session.scalars(
        select(Precache)
        .where(Precache.id.in_(ids), Precache.state == WAITING, Precache.next_ring_at <= now())
        .order_by(Precache.next_ring_at, Precache.id)
        .with_for_update(skip_locked=True)
    ).all()
    for row in rows:
        row.next_ring_at = now() + BACKOFF[min(row.rings, len(BACKOFF) - 1)]
        row.rings += 1
    session.flush()
    return list(rows)


def not_sent(session: Session, ids: Collection[str]) -> None:
    """A ring that did not happen does not count."""
    unsent = update(Precache).where(Precache.id.in_(ids), Precache.state == WAITING)
    session.execute(unsent.values(next_ring_at=now(), rings=0))


def note(session: Session, host: str, progress: Mapping[str, int]) -> None:
    """What a beat says of the downloads that run: percents by id. They are not rung meanwhile."""
    for id_, percent in sorted(progress.items()):
        running = update(Precache).where(
            Precache.id == id_, Precache.host == host, Precache.state == WAITING
        )
        session.execute(
            running.values(progress=percent, next_ring_at=now() + SEEN_SECONDS, rings=0)
        )


def settle(session: Session, id_: str, host: str, attempt: int, fault: Fault | None) -> str | None:
    """A host's word on a row: its state then, None when the word is not about how it stands.

    What may go better is tried MOST_TRIES times in all.
    """
    row = session.scalars(
        select(Precache)
        .where(
            Precache.id == id_,
            Precache.host == host,
            Precache.state == WAITING,
            Precache.tries == attempt,
        )
        .with_for_update()
    ).first()
    if row is None:
        return None
    if fault is None:
        row.state, row.progress, row.finished_at = CACHED, 100, now()
        row.message = ""
        return CACHED
    row.tries, row.rings, row.message = row.tries + 1, 0, fault.message
    if fault.retriable and row.tries < MOST_TRIES:
        row.next_ring_at = now() + BACKOFF[-1] * row.tries
        return WAITING
    _fail(row, fault)
    return FAILED


def _fail(row: Precache, fault: Fault) -> None:
    row.state, row.finished_at = FAILED, now()
    row.fault = asdict(advised(fault, _STAGE, row.host))


def give_up(session: Session, row: Precache, fault: Fault) -> None:
    """End a row that its host cannot be asked for."""
    _fail(row, fault)
    session.flush()


def overdue(session: Session) -> list[str]:
    """Ids of rows past their deadline, at most LIMIT."""
    late = select(Precache.id).where(Precache.state == WAITING, Precache.deadline <= now())
    return list(session.scalars(late.order_by(Precache.id).limit(LIMIT)))


def expire(session: Session, ids: Sequence[str]) -> None:
    """End what is past its deadline."""
    late = select(Precache).where(
        Precache.id.in_(ids), Precache.state == WAITING, Precache.deadline <= now()
    )
    for row in session.scalars(late.order_by(Precache.id).with_for_update(skip_locked=True)):
        last = f": {row.message}" if row.message else ""
        text = f"host {row.host} did not fetch the image in time{last}"
        _fail(row, Fault("deadline", text))
    session.flush()


def listed(session: Session, names: Collection[str]) -> list[tuple[Precache, Host]]:
    """What was asked of these hosts, each with its host, by host and image."""
    query = select(Precache, Host).join(Host, Host.name == Precache.host)
    rows = session.execute(
        query.where(Precache.host.in_(names)).order_by(Precache.host, Precache.image_id)
    )
    return [(row, host) for row, host in rows]


def host_forgotten(session: Session, name: str) -> None:
    """Nobody asks a host that is not there any more."""
    session.execute(delete(Precache).where(Precache.host == name))


def purge(session: Session, days: int) -> int:
    """Remove what ended more than `days` ago; how many there were, at most LIMIT."""
    old = select(Precache.id).where(Precache.finished_at < now() - days * 86400.0)
    ids = list(session.scalars(old.order_by(Precache.id).limit(LIMIT)))
    return changed(session, delete(Precache).where(Precache.id.in_(ids))) if ids else 0
