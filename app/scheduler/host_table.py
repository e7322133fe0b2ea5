"""All hosts as columns: what every filter and weigher works on."""

from __future__ import annotations

import json
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from app.domain.resources import Resources
from app.scheduler.rows import AggregateRow, HostRow

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
Aggregates = tuple[AggregateRow, ...]
Value = TypeVar("Value", bound=Hashable)

NUMBERS = (
    *("vcpus", "ram_mb", "disk_gb", "reserved_ram_mb", "cpu_ratio", "ram_ratio", "disk_ratio"),
    *("used_vcpus", "used_ram_mb", "used_disk_gb", "room_vcpus", "room_ram_mb", "room_disk_gb"),
    *("servers", "building", "failed_builds", "hypervisor_version", "usable"),
)
"""A row's numbers, in the order of its line in the table. `room_*` is limit less use."""
TAKEN = ("used_vcpus", "used_ram_mb", "used_disk_gb", "servers", "building")
POSITION = {name: number for number, name in enumerate(NUMBERS)}


class Column:
    """A column over few different values: each host has the code of one."""

    def __init__(self, values: Iterable[Value]) -> None:
        self.values: list[Any] = []
        self._known: dict[Any, int] = {}
        self.codes: Codes = np.array([self._code(value) for value in values], dtype=np.int64)

    def _code(self, value: Hashable) -> int:
        code = self._known.setdefault(value, len(self.values))
        if code == len(self.values):
            self.values.append(value)
        return code

    def with_one(self, position: int, value: Hashable) -> Column:
        """The column with one host's value changed; this one stays as it is, for who reads it."""
        if self.values[self.codes[position]] == value:
            return self
        made = Column(())
        made.values, made._known = list(self.values), dict(self._known)
        made.codes = self.codes.copy()
        made.codes[position] = made._code(value)
        return made

    def masked(self, passes: Callable[[Any], bool]) -> Mask | None:
        """Where the value passes; None when all values do."""
        verdicts = [passes(value) for value in self.values]
        if all(verdicts):
            return None
        return np.asarray(np.array(verdicts, dtype=bool)[self.codes])

    def spread(self, number: Callable[[Any], float]) -> Floats:
        """A number for each host from its value."""
        return np.asarray(
            np.array([number(value) for value in self.values], dtype=float)[self.codes]
        )

    def at(self, position: int) -> Column:
        """The column of one host."""
        one = object.__new__(Column)
        one.values, one.codes = self.values, self.codes[position : position + 1]
        return one


class HostTable:
    """Columns over all hosts. RAM in MiB, disk in GiB. Changed by its own methods alone.

    Every number of `NUMBERS` is a column by that name, a float per host. `members` counts the
    request's server group on each host while a choice is made.
    """

    vcpus: Floats
    ram_mb: Floats
    disk_gb: Floats
    reserved_ram_mb: Floats
    cpu_ratio: Floats
    ram_ratio: Floats
    disk_ratio: Floats
    used_vcpus: Floats
    used_ram_mb: Floats
    used_disk_gb: Floats
    room_vcpus: Floats
    room_ram_mb: Floats
    room_disk_gb: Floats
    servers: Floats
    building: Floats
    failed_builds: Floats
    hypervisor_version: Floats
    usable: Floats

    def __init__(
        self, rows: Sequence[HostRow] = (), aggregates: Sequence[AggregateRow] = ()
    ) -> None:
        self.names = [row.name for row in rows]
        self.index = {name: position for position, name in enumerate(self.names)}
        self.texts = [(row.address, row.hostname, row.hypervisor_type) for row in rows]
        self.numbers: Floats = np.array([_line(row) for row in rows], dtype=float)
        self.numbers = np.ascontiguousarray(self.numbers.reshape(len(rows), len(NUMBERS)).T)
        self._bind()
        self.zones = Column(row.zone for row in rows)
        self.facts = Column(row.facts for row in rows)
        self.set_aggregates(aggregates)
        self.members: Floats = np.zeros(len(rows))

    def _bind(self) -> None:
        self.__dict__.update(zip(NUMBERS, self.numbers, strict=True))

    def set_aggregates(self, aggregates: Sequence[AggregateRow]) -> None:
        """Replace all aggregates."""
        sets: list[list[AggregateRow]] = [[] for _ in self.names]
        self._rows: dict[tuple[str, ...], Aggregates] = {}
        for aggregate in aggregates:
            for name in aggregate.hosts:
                if (position := self.index.get(name)) is not None:
                    sets[position].append(aggregate)
        for found in sets:
            self._rows[tuple(one.name for one in found)] = tuple(found)
        self.aggregates = Column(tuple(one.name for one in found) for found in sets)
        self._multipliers: dict[tuple[str, float], Floats] = {}

    def __len__(self) -> int:
        return len(self.names)

    # Looking.

    def named(self, names: Iterable[str]) -> Mask:
        """A mask of the hosts with these names."""
        mask = np.zeros(len(self), dtype=bool)
        for name in names:
            if (position := self.index.get(name)) is not None:
                mask[position] = True
        return mask

    def by_aggregates(self, passes: Callable[[Aggregates], bool]) -> Mask | None:
        """Where the host's aggregates pass; asked once for each set of them that hosts have."""
        return self.aggregates.masked(lambda names: passes(self._rows[names]))

    def from_aggregates(self, number: Callable[[Aggregates], float]) -> Floats:
        """A number for each host from its aggregates."""
        return self.aggregates.spread(lambda names: number(self._rows[names]))

    def multipliers(self, key: str, default: float) -> Floats | None:
        """Each host's multiplier: the least that its aggregates set under `key`.

        None when none of them does. Values that are no numbers are as if not there, as in Nova.
        """
        if (key, default) not in self._multipliers:
            if not any(key in one.metadata for found in self._rows.values() for one in found):
                return None
            found = self.from_aggregates(lambda sets: least(sets, key, float, default))
            self._multipliers[key, default] = found
        return self._multipliers[key, default]

    def aggregates_of(self, position: int) -> Aggregates:
        """The aggregates that the host is in."""
        names: tuple[str, ...] = self.aggregates.values[self.aggregates.codes[position]]
        return self._rows[names]

    def by_facts(self, passes: Callable[[dict[str, Any]], bool]) -> Mask | None:
        """Where the host's facts pass; asked once for each different object of them."""
        return self.facts.masked(lambda text: passes(json.loads(text)))

    # Changing.

    def put(self, position: int, row: HostRow) -> None:
        """Replace one host's row by what the database has now; its name stays.

        Copies made before do not see it.
        """
        self.numbers[:, position] = _line(row)
        texts = (row.address, row.hostname, row.hypervisor_type)
        if self.texts[position] != texts:
            self.texts = [*self.texts[:position], texts, *self.texts[position + 1 :]]
        self.zones = self.zones.with_one(position, row.zone)
        self.facts = self.facts.with_one(position, row.facts)

    def set_building(self, counts: Mapping[str, int]) -> None:
        """Say how many builds are in flight on each host; on those not named there are none."""
        self.building[:] = 0
        for name, count in counts.items():
            if (position := self.index.get(name)) is not None:
                self.building[position] = count

    def set_usable(self, names: Iterable[str]) -> None:
        """Pretend that these hosts are enabled and up."""
        self.usable[self.named(names)] = 1

    def take(self, position: int, wanted: Resources, number: int = 1) -> None:
        """Count so many more servers of `wanted` on the host at `position`, being built."""
        self._count(position, wanted, number, building=True)

    def give(self, position: int, wanted: Resources, *, building: bool = True) -> None:
        """Count one server of `wanted` less there, the reverse of `take`.

        With `building=False` for one whose build had ended: see `built`.
        """
        self._count(position, wanted, -1, building)

    def built(self, position: int) -> None:
        """Count one build less in flight there."""
        self.building[position] -= 1

    def _count(self, position: int, wanted: Resources, number: int, building: bool) -> None:
        line = self.numbers[:, position]
        amounts = (wanted.vcpus, wanted.ram_mb, wanted.disk_gb, 1, building)
        for name, amount in zip(TAKEN, amounts, strict=True):
            line[POSITION[name]] += number * amount
        # Made anew as a row's is: what is taken and given back leaves no rounding behind.
        self.room_vcpus[position] = (
            self.vcpus[position] * self.cpu_ratio[position] - self.used_vcpus[position]
        )
        self.room_ram_mb[position] = (
            self.ram_mb[position] - self.reserved_ram_mb[position]
        ) * self.ram_ratio[position] - self.used_ram_mb[position]
        self.room_disk_gb[position] = (
            self.disk_gb[position] * self.disk_ratio[position] - self.used_disk_gb[position]
        )
        self.members[position] += number

    def set_members(self, members: Mapping[str, int]) -> None:
        """Say how many servers of the request's group each host has."""
        self.members = np.zeros(len(self))
        for name, count in members.items():
            if (position := self.index.get(name)) is not None:
                self.members[position] = count

    def copy(self) -> HostTable:
        """A table that can be taken from and this one stays as it is."""
        made = self._same()
        made.numbers, made.members = self.numbers.copy(), self.members.copy()
        made._bind()
        return made

    def at(self, position: int) -> HostTable:
        """The table of one host, which sees what is taken from this one."""
        made = self._same()
        made.names = self.names[position : position + 1]
        made.index = {made.names[0]: 0}
        made.texts = self.texts[position : position + 1]
        made.numbers = self.numbers[:, position : position + 1]
        made._bind()
        made.zones, made.facts = self.zones.at(position), self.facts.at(position)
        made.aggregates = self.aggregates.at(position)
        made.members = self.members[position : position + 1]
        made._multipliers = {}
        return made

    def _same(self) -> HostTable:
        made = object.__new__(HostTable)
        made.__dict__.update(self.__dict__)
        return made


def _line(row: HostRow) -> tuple[float, ...]:
    total, used = row.total, row.used
    vcpus, ram_mb, disk_gb = row.limit
    return (
        *(total.vcpus, total.ram_mb, total.disk_gb, row.reserved_ram_mb),
        *(row.cpu_ratio, row.ram_ratio, row.disk_ratio),
        *(used.vcpus, used.ram_mb, used.disk_gb),
        *(vcpus - used.vcpus, ram_mb - used.ram_mb, disk_gb - used.disk_gb),
        *(row.servers, row.building, row.failed_builds, row.hypervisor_version, row.usable),
    )


def least(aggregates: Aggregates, key: str, cast: Callable[[str], float], default: float) -> float:
    """The least number that aggregates have under `key`; the default when none or no number is."""
    values = {one.metadata[key] for one in aggregates if key in one.metadata}
    try:
        return min((cast(value) for value in values), default=default)
    except ValueError:
        return default
