"""Host aggregates: sets of hosts, and what these make of their hosts' zones and ratios.

Every change counts `Cloud.aggregates_revision` up first, so that changes come one by one and
whoever keeps aggregates in memory sees that there is something new.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

from sqlalchemy import delete, exists, select, update
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid, NotFound
from app.models import Aggregate, AggregateHost, Cloud, Host, Server, new_id
from app.store import hosts
from app.store.database import changed, clock

DEFAULT_ZONE = "nova"
ZONE = "availability_zone"
RATIOS = {
    "cpu_allocation_ratio": "cpu_ratio",
    "ram_allocation_ratio": "ram_ratio",
    "disk_allocation_ratio": "disk_ratio",
}
"""Metadata that sets a host's ratio, and that ratio's column."""
MOST_RATIO = 10_000
MOST_METADATA = 256
_MOST_ID = 2**31 - 1


def revision(session: Session) -> int:
    """A number that is another one after every change of an aggregate or of its hosts."""
    return session.scalar(select(Cloud.aggregates_revision)) or 0


def listed(session: Session) -> list[Aggregate]:
    """All aggregates, oldest first."""
    return list(session.scalars(select(Aggregate).order_by(Aggregate.id)))


def hosts_of(session: Session, aggregates: Sequence[Aggregate]) -> dict[int, list[str]]:
    """The hosts of each of these, by the aggregate's id and in the order of names."""
    found: dict[int, list[str]] = {one.id: [] for one in aggregates}
    rows = select(AggregateHost.aggregate_id, AggregateHost.host).order_by(AggregateHost.host)
    for row in session.execute(rows.where(AggregateHost.aggregate_id.in_(list(found)))):
        found[row.aggregate_id].append(row.host)
    return found


def get(session: Session, aggregate_id: int) -> Aggregate:
    """One aggregate. Raises NotFound."""
    found = session.get(Aggregate, aggregate_id) if 0 < aggregate_id <= _MOST_ID else None
    if found is None:
        raise NotFound(f"Aggregate {aggregate_id} could not be found.")
    return found


def add(session: Session, name: str, zone: str | None) -> Aggregate:
    """A new aggregate, which makes `zone` of its hosts if it is given. Raises Conflict, Invalid."""
    _begin(session)
    _refuse_taken(session, name)
    metadata = {} if zone is None else {ZONE: zone}
    _check_metadata(metadata)
    made = Aggregate(uuid=new_id(), name=name, meta=metadata)
    session.add(made)
    session.flush()
    session.refresh(made)
    return made


def change(
    session: Session, aggregate_id: int, name: str | None, metadata: Mapping[str, str | None]
) -> Aggregate:
    """Rename an aggregate (None: keep its name), set its metadata; None there forgets a key.

    Raises NotFound, Conflict for a name that is taken, and Invalid: for metadata that cannot be,
    and for a zone that the hosts cannot move to.
    """
    _begin(session)
    found = get(session, aggregate_id)
    if name is not None and name != found.name:
        _refuse_taken(session, name)
        found.name = name
    _check_metadata(metadata)
    merged = found.meta | dict(metadata)
    found.meta = {key: value for key, value in merged.items() if value is not None}
    if len(found.meta) > MOST_METADATA:
        raise Invalid(f"metadata: an aggregate has at most {MOST_METADATA} items")
    found.updated_at = clock(session)
    if reason := _settle(session, hosts_of(session, [found])[found.id]):
        raise Invalid(f"Cannot update aggregate {found.id}. Reason: {reason}")
    return found


def remove(session: Session, aggregate_id: int) -> None:
    """Forget an aggregate. Raises NotFound, and Invalid while it has hosts."""
    _begin(session)
    found = get(session, aggregate_id)
    if session.scalar(select(exists().where(AggregateHost.aggregate_id == found.id))):
        raise Invalid(
            f"Cannot remove aggregate {found.id}. Reason: it still has hosts; remove them first."
        )
    session.delete(found)


def add_host(session: Session, aggregate_id: int, name: str) -> Aggregate:
    """Put a host into an aggregate.

    Raises NotFound, and Conflict when it is there already, or would change its zone while it is
    in another one by another aggregate or has servers.
    """
    _begin(session)
    found = get(session, aggregate_id)
    if hosts.get(session, name) is None:
        raise NotFound(f"Compute host {name} could not be found.")
    if session.get(AggregateHost, (found.id, name)) is not None:
        raise Conflict(f"Aggregate {found.id} already has host {name}.")
    session.add(AggregateHost(aggregate_id=found.id, host=name))
    if reason := _settle(session, [name]):
        raise Conflict(f"Cannot add host to aggregate {found.id}. Reason: {reason}")
    return found


def remove_host(session: Session, aggregate_id: int, name: str) -> Aggregate:
    """Take a host out of an aggregate.

    Raises NotFound, and Conflict when servers on it would change their zone.
    """
    _begin(session)
    found = get(session, aggregate_id)
    there = delete(AggregateHost).where(
        AggregateHost.aggregate_id == found.id, AggregateHost.host == name
    )
    if changed(session, there) == 0:
        raise NotFound(f"Cannot remove host {name} in aggregate {found.id}")
    if reason := _settle(session, [name]):
        raise Conflict(f"Cannot remove host {name} in aggregate {found.id}. Reason: {reason}")
    return found


def host_forgotten(session: Session, name: str) -> None:
    """Take a host out of all aggregates, for it will not be there any more.

    To be called before the host's row is locked: that is everybody's order.
    """
    if session.scalar(select(exists().where(AggregateHost.host == name))):
        _begin(session)
        session.execute(delete(AggregateHost).where(AggregateHost.host == name))


def _begin(session: Session) -> None:
    session.execute(update(Cloud).values(aggregates_revision=Cloud.aggregates_revision + 1))


def _refuse_taken(session: Session, name: str) -> None:
    if session.scalar(select(exists().where(Aggregate.name == name))):
        raise Conflict(f"Aggregate {name} already exists.")


def _check_metadata(metadata: Mapping[str, str | None]) -> None:
    if ZONE in metadata and not metadata[ZONE]:
        raise Invalid(f"Invalid input for field {ZONE}: a zone cannot be nameless or taken away")
    if ":" in (metadata.get(ZONE) or ""):
        raise Invalid(f"Invalid input for field {ZONE}: must not have a colon")
    for key in RATIOS.keys() & metadata.keys():
        value = metadata[key]
        if value is not None and _ratio(value) is None:
            raise Invalid(
                f"Invalid input for field metadata.{key}: must be a number from 0 to {MOST_RATIO}"
            )


def _ratio(text: str) -> float | None:
    """The ratio that metadata sets; None when it is none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) and 0 <= number <= MOST_RATIO else None


def _settle(session: Session, names: Collection[str]) -> str | None:
    """Bring zones and ratios of these hosts in line with their aggregates.

    Claims hold a host's row when they are committed, or wait for it: none is made under the limit
    of before, and none counts for a zone that changes. Returns why it cannot be: the caller raises.
    """
    session.flush()
    rows = select(Host).where(Host.name.in_(list(names))).order_by(Host.name)
    locked = list(session.scalars(rows.with_for_update().execution_options(populate_existing=True)))
    memberships = (
        select(AggregateHost.host, Aggregate.meta)
        .join(Aggregate, Aggregate.id == AggregateHost.aggregate_id)
        .where(AggregateHost.host.in_(list(names)))
        .order_by(Aggregate.id)
    )
    metadata: dict[str, list[Mapping[str, str]]] = {host.name: [] for host in locked}
    for name, found in session.execute(memberships):
        metadata[name].append(found)
    moved = []
    for host in locked:
        zones = {one[ZONE] for one in metadata[host.name] if one.get(ZONE)}
        if len(zones) > 1:
            return f"host {host.name} would be in the availability zones {', '.join(sorted(zones))}"
        zone = zones.pop() if zones else DEFAULT_ZONE
        if zone != host.zone:
            host.zone = zone
            moved.append(host.name)
        _set_ratios(host, metadata[host.name])
    return _inhabited(session, moved)


def _inhabited(session: Session, moved: Collection[str]) -> str | None:
    there = select(Server.host).where(Server.host.in_(list(moved)), Server.deleted_at.is_(None))
    host = session.scalar(there.order_by(Server.host).limit(1)) if moved else None
    if host is None:
        return None
    return f"host {host} has servers, and their availability zone would change"


def _set_ratios(host: Host, metadata: Sequence[Mapping[str, str]]) -> None:
    """The least that aggregates set, or the host's own, which is kept meanwhile."""
    for key, column in RATIOS.items():
        kept = getattr(host, f"own_{column}")
        own = getattr(host, column) if kept is None else kept
        given = [ratio for one in metadata if (ratio := _ratio(one.get(key, ""))) is not None]
        ratio, keep = (min(given), own) if given else (own, None)
        if getattr(host, column) != ratio:
            setattr(host, column, ratio)
        if kept != keep:
            setattr(host, f"own_{column}", keep)
