"""The hosts of a simulated cloud: made, added, lost, and read back from a table."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from app.domain.resources import Resources
from app.errors import Invalid
from app.scheduler.host_table import HostTable
from app.scheduler.rows import AggregateRow, HostRow


@dataclass(frozen=True)
class Kind:
    """So many equal hosts."""

    count: int
    total: Resources


def generated(kinds: Sequence[Kind], like: HostRow, zones: int) -> list[HostRow]:
    """Empty hosts of these kinds with the ratios and reserve of `like`.

    Each zone is a block of them, as near as possible of equal size: `zone-1`, `zone-2`, …; a
    single one has the name that `like` has.
    """
    total = sum(kind.count for kind in kinds)
    width = len(str(total))
    found: list[HostRow] = []
    for kind in kinds:
        for _ in range(kind.count):
            number = len(found)
            zone = like.zone if zones == 1 else f"zone-{number * zones // total + 1}"
            name = f"host-{number + 1:0{width}}"
            found.append(replace(like, name=name, total=kind.total, zone=zone))
    return found


def added(rows: Sequence[HostRow], count: int, total: Resources | None) -> list[HostRow]:
    """New, empty hosts `added-00001`, … like the commonest of `rows`, of this size unless None.

    They are in the zone that has the most hosts, and in no aggregate. Raises Invalid when there is
    none to be like.
    """
    if not rows:
        raise Invalid("there is no host that added ones could be like")
    like = Counter(_plain(row) for row in rows).most_common(1)[0][0]
    zone = Counter(row.zone for row in rows).most_common(1)[0][0]
    like = replace(like, zone=zone, total=total or like.total)
    taken = {row.name for row in rows}
    names = (name for number in itertools.count(1) if (name := f"added-{number:05}") not in taken)
    return [replace(like, name=name) for name in itertools.islice(names, count)]


def _plain(row: HostRow) -> HostRow:
    """What a host has in common with others of its kind."""
    new = HostRow("", row.total)
    kept = ("reserved_ram_mb", "cpu_ratio", "ram_ratio", "disk_ratio", "facts")
    same = (*kept, "hypervisor_type", "hypervisor_version")
    return replace(new, **{name: getattr(row, name) for name in same})


def in_zone(rows: Sequence[HostRow], zone: str) -> frozenset[str]:
    """The zone's hosts. Raises Invalid when it has none."""
    if found := frozenset(row.name for row in rows if row.zone == zone):
        return found
    zones = ", ".join(sorted({row.zone for row in rows}))
    raise Invalid(f"no host is in the zone {zone!r}: there are {zones}")


def rack(rows: Sequence[HostRow], count: int, chance: np.random.Generator) -> frozenset[str]:
    """`count` hosts that follow each other by name, from a random one on.

    Raises Invalid when there are not so many.
    """
    names = sorted(row.name for row in rows)
    if count > len(names):
        raise Invalid(f"a rack of {count} hosts cannot die: there are {len(names)}")
    first = int(chance.integers(0, len(names) - count + 1))
    return frozenset(names[first : first + count])


def rows_of(hosts: HostTable) -> tuple[list[HostRow], list[AggregateRow]]:
    """What a table equal to this one is made of."""
    aggregates = {
        one.name: one for position in range(len(hosts)) for one in hosts.aggregates_of(position)
    }
    rows = [_row(hosts, position) for position in range(len(hosts))]
    return rows, [aggregates[name] for name in sorted(aggregates)]


def _row(hosts: HostTable, at: int) -> HostRow:
    address, hostname, hypervisor_type = hosts.texts[at]

    def whole(name: str) -> int:
        return int(getattr(hosts, name)[at])

    def sized(prefix: str) -> Resources:
        return Resources(*(whole(f"{prefix}{name}") for name in ("vcpus", "ram_mb", "disk_gb")))

    return HostRow(
        name=hosts.names[at],
        total=sized(""),
        used=sized("used_"),
        zone=hosts.zones.values[hosts.zones.codes[at]],
        usable=bool(hosts.usable[at]),
        reserved_ram_mb=whole("reserved_ram_mb"),
        cpu_ratio=float(hosts.cpu_ratio[at]),
        ram_ratio=float(hosts.ram_ratio[at]),
        disk_ratio=float(hosts.disk_ratio[at]),
        servers=whole("servers"),
        building=whole("building"),
        failed_builds=whole("failed_builds"),
        address=address,
        hostname=hostname,
        hypervisor_type=hypervisor_type,
        hypervisor_version=whole("hypervisor_version"),
        facts=hosts.facts.values[hosts.facts.codes[at]],
    )
