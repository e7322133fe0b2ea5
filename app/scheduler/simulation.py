"""A cloud in memory: the scheduler's own choice over arrivals, departures, and lost hosts.

Nothing here waits, reads or writes; the same scenario, policy and seed give the same outcome.
"""

from __future__ import annotations

import heapq
import math
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from app.domain.request_spec import RequestSpec
from app.scheduler.filters import FILTERS
from app.scheduler.host_table import HostTable
from app.scheduler.policy import Policy
from app.scheduler.rows import AggregateRow, HostRow
from app.scheduler.select import Selection, select
from app.scheduler.simulation_cloud import rows_of
from app.scheduler.simulation_demand import FOR_GOOD, Arrival, kinds
from app.scheduler.simulation_figures import Counts, Looks, Moment

AFTER_LAST = math.inf
CLAIM = ("compute", "vcpus", "ram", "disk")
"""Filters that judge as the claim does."""


@dataclass(frozen=True)
class Resident:
    """A server that is on a host at the start, whose use the host's row already counts."""

    host: str
    spec: RequestSpec
    lifetime: float = FOR_GOOD


@dataclass(frozen=True)
class Scenario:
    """What happens, whatever the policy. Times are seconds after the start.

    The hosts of `lost` go away at `lost_at` (`AFTER_LAST`: after the last arrival), and their
    servers are placed anew, the oldest first. Builds take `build_seconds`. `flavors` are the kinds
    of servers by which figures are made, those that are asked for unless given. `looks` is how
    many moments are kept between start and end.
    """

    hosts: tuple[HostRow, ...]
    aggregates: tuple[AggregateRow, ...] = ()
    residents: tuple[Resident, ...] = ()
    arrivals: tuple[Arrival, ...] = ()
    lost: frozenset[str] = frozenset()
    lost_at: float = AFTER_LAST
    build_seconds: float = 30.0
    flavors: tuple[RequestSpec, ...] = ()
    looks: int = 100


@dataclass
class Outcome:
    """What became of it.

    `picks` has the first host of each server asked for, in their order, None for a refused one;
    `hosts_of` where each is at the end that is on one: residents have the numbers below 0.
    `refused_by` sums, over all servers that fitted nowhere, how many hosts each filter refused;
    `refused_flavors` counts these servers. `seconds` is what `decisions` took, a decision for
    each server.
    """

    moments: list[Moment] = field(default_factory=list)
    picks: list[str | None] = field(default_factory=list)
    hosts_of: dict[int, str] = field(default_factory=dict)
    refused_by: Counter[str] = field(default_factory=Counter)
    refused_flavors: Counter[str] = field(default_factory=Counter)
    decisions: int = 0
    seconds: float = 0.0
    largest: RequestSpec | None = None
    table: HostTable = field(default_factory=HostTable)

    @property
    def end(self) -> Moment:
        """The last moment."""
        return self.moments[-1]


def run(
    scenario: Scenario,
    policy: Policy,
    seed: int,
    clock: Callable[[], float],
    told: Callable[[int], None] = lambda asked: None,
) -> Outcome:
    """Let it happen under a policy. `told` hears at each look how many servers were asked for."""
    going = _Run(scenario, policy, seed, clock)
    total = sum(len(one.lifetimes) for one in scenario.arrivals)
    step, due = max(1.0, total / scenario.looks), 0.0
    going.look(0.0)
    for arrival in scenario.arrivals:
        if scenario.lost_at <= arrival.at:
            going.lose(scenario.lost_at)
        going.advance(arrival.at)
        going.arrive(arrival)
        if len(going.outcome.picks) >= due + step:
            due = len(going.outcome.picks)
            going.look(arrival.at)
            told(due)
    last = scenario.arrivals[-1].at if scenario.arrivals else 0.0
    going.lose(last if math.isinf(scenario.lost_at) else max(last, scenario.lost_at))
    return going.ended(last)


def claimed(policy: Policy) -> Policy:
    """The policy, with the claim's word after its own: it never gives room that is not there."""
    rest = [FILTERS[name] for name in CLAIM if FILTERS[name] not in policy.filters]
    return replace(policy, filters=(*policy.filters, *rest))


@dataclass(eq=False)
class _Stay:
    """A server on a host."""

    position: int
    spec: RequestSpec
    building: bool


class _Run:
    """A cloud on its way through a scenario."""

    def __init__(
        self, scenario: Scenario, policy: Policy, seed: int, clock: Callable[[], float]
    ) -> None:
        self._scenario, self._policy, self._clock = scenario, claimed(policy), clock
        self._chance = random.Random(seed)
        self._table = HostTable(scenario.hosts, scenario.aggregates)
        self._stays: dict[int, _Stay] = {}
        self._events: list[tuple[float, int, int, _Stay | None]] = []
        self._order = 0
        self._lost = False
        self._counts = Counter[str]()
        flavors = scenario.flavors or kinds(scenario.arrivals)
        self._looks = Looks(flavors, self._policy, self._table)
        self.outcome = Outcome(largest=self._looks.largest)
        for number, one in enumerate(scenario.residents, -len(scenario.residents)):
            self._stays[number] = _Stay(self._table.index[one.host], one.spec, building=False)
            self._at(one.lifetime, number)

    def advance(self, until: float) -> None:
        """Let builds and lifetimes end that end by then."""
        while self._events and self._events[0][0] <= until:
            _, _, number, built = heapq.heappop(self._events)
            stay = self._stays.get(number)
            if stay is None or (built is not None and built is not stay):
                continue  # it found no other host, or is being built on another one
            if built is not None:
                stay.building = False
                self._table.built(stay.position)
            else:
                del self._stays[number]
                self._table.give(stay.position, stay.spec.resources, building=stay.building)
                self._counts["left"] += 1

    def arrive(self, arrival: Arrival) -> None:
        """Decide on one request."""
        first, count = len(self.outcome.picks), len(arrival.lifetimes)
        found = self._chosen(arrival.spec, count)
        hosts = [pick[0] for pick in found.picks]
        self.outcome.picks += [*hosts, *[None] * (count - len(hosts))]
        self._counts["placed"] += len(hosts)
        self._counts["refused"] += count - len(hosts)
        for number, host in enumerate(hosts, first):
            self._settle(number, host, arrival.spec, arrival.at)
            self._at(arrival.at + arrival.lifetimes[number - first], number)

    def lose(self, at: float) -> None:
        """Take the lost hosts away, once, and place their servers anew."""
        if self._lost or not self._scenario.lost:
            return
        self._lost = True
        self.advance(at)
        self.look(at)
        old = self._table
        self._counts["lost_hosts"] = len(self._scenario.lost)
        rows, aggregates = rows_of(old)
        self._table = HostTable(
            [row for row in rows if row.name not in self._scenario.lost], aggregates
        )
        moving = []
        for number, stay in self._stays.items():
            name = old.names[stay.position]
            if name in self._scenario.lost:
                moving.append(number)
            else:
                stay.position = self._table.index[name]
        for number in sorted(moving):
            self._move(number, at)
        self.look(at)

    def look(self, at: float) -> None:
        """Keep the figures of now."""
        counts = Counts(asked=len(self.outcome.picks), **self._counts)
        self.outcome.moments.append(self._looks.at(self._table, at, counts, len(self._stays)))

    def ended(self, at: float) -> Outcome:
        """All that is known at the end."""
        outcome = self.outcome
        if outcome.end.counts.asked != len(outcome.picks):
            self.look(at)
        outcome.table = self._table
        names = self._table.names
        outcome.hosts_of = {number: names[stay.position] for number, stay in self._stays.items()}
        return outcome

    def _move(self, number: int, at: float) -> None:
        spec = self._stays.pop(number).spec
        found = self._chosen(spec, 1)
        if found.picks:
            self._settle(number, found.picks[0][0], spec, at)
        self._counts["moved" if found.picks else "homeless"] += 1

    def _chosen(self, spec: RequestSpec, count: int) -> Selection:
        begun = self._clock()
        found = select(self._table, spec, count, 0, self._policy, self._chance)
        self.outcome.seconds += self._clock() - begun
        self.outcome.decisions += count
        if missing := count - len(found.picks):
            self.outcome.refused_flavors[spec.flavor_name] += missing
            refused = {name: missing * hosts for name, hosts in found.refused.items() if hosts}
            self.outcome.refused_by.update(refused)
        return found

    def _settle(self, number: int, host: str, spec: RequestSpec, at: float) -> None:
        stay = _Stay(self._table.index[host], spec, building=True)
        self._stays[number] = stay
        self._at(at + self._scenario.build_seconds, number, stay)

    def _at(self, time: float, number: int, built: _Stay | None = None) -> None:
        if time < math.inf:
            self._order += 1
            heapq.heappush(self._events, (time, self._order, number, built))
