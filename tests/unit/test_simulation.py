"""A simulated cloud is filled by the scheduler's own choices, and never above its limits."""

from __future__ import annotations

import itertools
import math
import random
from collections import Counter
from dataclasses import asdict, dataclass, replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.domain.request_spec import RequestSpec
from app.domain.resources import Resources
from app.errors import Invalid
from app.scheduler import policy as policies
from app.scheduler.host_table import HostTable
from app.scheduler.options import Options
from app.scheduler.policy import DEFAULT, Policy
from app.scheduler.rows import AggregateRow, HostRow
from app.scheduler.select import select
from app.scheduler.simulation import AFTER_LAST, Outcome, Resident, Scenario, claimed, run
from app.scheduler.simulation_cloud import Kind, added, generated, in_zone, rack, rows_of
from app.scheduler.simulation_demand import FOR_GOOD, Arrival, Mix, Pace, arrivals, classic, kinds
from app.scheduler.simulation_figures import Counts, Looks
from tests.one_by_one.generated import case

SEEDS = st.integers(0, 2**48)
RESOURCES = ("vcpus", "ram_mb", "disk_gb")
many = settings(
    max_examples=100, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)


seen: Counter[str] = Counter()


def at_once() -> float:
    return 0.0


def sizes(chance: random.Random) -> Resources:
    return Resources(chance.randrange(4), chance.choice((256, 512, 1500)), chance.randrange(30))


def cloud(chance: random.Random) -> Scenario:
    """A small cloud that overflows: odd ratios, servers from before, some hosts lost."""
    specs = [
        RequestSpec(sizes(chance), chance.choice((None, "east")), flavor_name=f"f{number}")
        for number in range(3)
    ]
    names = [f"h{number}" for number in range(chance.randrange(1, 7))]
    residents = tuple(
        Resident(chance.choice(names), chance.choice(specs), chance.choice((FOR_GOOD, 40.0)))
        for _ in range(chance.randrange(4))
    )
    hosts = tuple(
        replace(
            HostRow(name, Resources(chance.randrange(3, 9), 4096, 100)),
            zone=chance.choice(("east", "west")),
            usable=chance.random() < 0.9,
            reserved_ram_mb=chance.choice((0, 500)),
            cpu_ratio=chance.choice((1.0, 1.1, 1.3)),
            ram_ratio=chance.choice((1.0, 0.7)),
            used=total([one.spec.resources for one in residents if one.host == name]),
            servers=sum(one.host == name for one in residents),
        )
        for name in names
    )
    times = sorted(chance.choice((chance.uniform(0, 100), 50.0)) for _ in range(12))
    counts = [chance.choice((1, 1, 4)) for _ in times]
    requests = tuple(
        Arrival(at, chance.choice(specs), tuple(stay(chance) for _ in range(count)))
        for at, count in zip(times, counts, strict=True)
    )
    lost = frozenset(chance.sample(names, chance.randrange(len(names))))
    lost_at = chance.choice((0.0, 50.0, 70.0, AFTER_LAST))
    return Scenario(hosts, (), residents, requests, lost, lost_at, chance.choice((0.0, 15.0)))


def stay(chance: random.Random) -> float:
    return chance.choice((FOR_GOOD, chance.uniform(1, 60), 20.0))


def total(servers: list[Resources]) -> Resources:
    return Resources(*(sum(getattr(one, name) for one in servers) for name in RESOURCES))


def some_policy(chance: random.Random) -> Policy:
    names = chance.choice((None, ["io_ops"], ["compute", "num_instances"]))
    factor = chance.choice((1.0, -1.0))
    options = Options(
        host_subset_size=chance.choice((1, 1, 3)),
        max_io_ops_per_host=2,
        max_instances_per_host=3,
        shuffle_best_same_weighed_hosts=chance.random() < 0.3,
    )
    return policies.make(names, None, dict.fromkeys(("ram", "cpu", "disk"), factor), options)


@dataclass
class Server:
    host: str
    spec: RequestSpec
    leaves: float
    built: float


class Books:
    """The same by hand: every decision by `select` for one server over a table made anew."""

    def __init__(self, happens: Scenario, policy: Policy, seed: int) -> None:
        self.happens, self.policy, self.chance = happens, claimed(policy), random.Random(seed)
        self.rows = list(happens.hosts)
        first = -len(happens.residents)
        self.servers = {
            number: Server(one.host, one.spec, one.lifetime, -math.inf)
            for number, one in enumerate(happens.residents, first)
        }
        self.picks: list[str | None] = []
        self.left = self.homeless = 0
        self.lost = not happens.lost

    def replay(self) -> None:
        numbers = itertools.count()
        for request in self.happens.arrivals:
            if self.happens.lost_at <= request.at:
                self.lose(self.happens.lost_at)
            self.leave(request.at)
            for lifetime in request.lifetimes:
                number = next(numbers)
                host = self.choose(request.spec, request.at)
                self.picks.append(host)
                if host is not None:
                    self.settle(number, host, request.spec, request.at, request.at + lifetime)
        last = self.happens.arrivals[-1].at
        self.lose(last if math.isinf(self.happens.lost_at) else max(last, self.happens.lost_at))

    def settle(self, number: int, host: str, spec: RequestSpec, at: float, leaves: float) -> None:
        built = at + self.happens.build_seconds
        self.servers[number] = Server(host, spec, leaves, built)

    def leave(self, at: float) -> None:
        gone = [number for number, one in self.servers.items() if one.leaves <= at]
        for number in gone:
            del self.servers[number]
        self.left += len(gone)

    def lose(self, at: float) -> None:
        if self.lost:
            return
        self.lost = True
        self.leave(at)
        self.rows = [row for row in self.rows if row.name not in self.happens.lost]
        for number in sorted(n for n, one in self.servers.items() if one.host in self.happens.lost):
            one = self.servers.pop(number)
            host = self.choose(one.spec, at)
            if host is None:
                self.homeless += 1
            else:
                self.settle(number, host, one.spec, at, one.leaves)

    def choose(self, spec: RequestSpec, at: float) -> str | None:
        rows = [self.row(row, at) for row in self.rows]
        found = select(HostTable(rows), spec, 1, 0, self.policy, self.chance)
        return found.picks[0][0] if found.picks else None

    def row(self, row: HostRow, at: float) -> HostRow:
        here = [one for one in self.servers.values() if one.host == row.name]
        used = total([one.spec.resources for one in here])
        building = sum(one.built > at for one in here)
        return replace(row, used=used, servers=len(here), building=building)


def no_more_than_the_limits(table: HostTable, before: Scenario) -> None:
    rows = {row.name: row for row in before.hosts}
    for row in rows_of(table)[0]:
        at_start = rows[row.name].used
        for name, limit in zip(RESOURCES, row.limit, strict=True):
            used = getattr(row.used, name)
            assert used <= max(limit, getattr(at_start, name)), (row.name, name)


@many
@given(SEEDS)
def test_a_simulation_decides_as_select_does_one_by_one(seed: int) -> None:
    chance = random.Random(seed)
    happens, policy = cloud(chance), some_policy(chance)
    happens = replace(happens, build_seconds=max(happens.build_seconds, 0.001))
    found = run(happens, policy, seed, at_once)
    books = Books(happens, policy, seed)
    books.replay()
    assert found.picks == books.picks
    assert found.hosts_of == {number: one.host for number, one in books.servers.items()}
    counts = found.end.counts
    assert (counts.left, counts.homeless) == (books.left, books.homeless)
    seen.update({"cases": 1, **{name: bool(value) for name, value in asdict(counts).items()}})


def test_the_cases_of_the_test_above_have_everything_happen() -> None:
    if not seen["cases"]:
        pytest.skip("needs the test above in the same run")
    shares = {name: round(number / seen["cases"], 2) for name, number in seen.items()}
    assert min(shares.values()) > 0.2, shares


@settings(many, max_examples=40)
@given(SEEDS)
def test_no_host_is_ever_filled_above_its_limits_and_no_server_is_lost_sight_of(seed: int) -> None:
    chance = random.Random(seed)
    happens, policy = cloud(chance), some_policy(chance)
    # Cut short after each request in turn: what held at every moment of the whole.
    for length in range(1, len(happens.arrivals) + 1):
        part = replace(happens, arrivals=happens.arrivals[:length], looks=3)
        found = run(part, policy, seed, at_once)
        no_more_than_the_limits(found.table, part)
        adds_up(part, found)


def adds_up(happens: Scenario, found: Outcome) -> None:
    counts = found.end.counts
    asked = sum(len(one.lifetimes) for one in happens.arrivals)
    assert counts.asked == asked == counts.placed + counts.refused == len(found.picks)
    assert counts.refused == found.picks.count(None)
    there = len(happens.residents) + counts.placed - counts.left - counts.homeless
    assert there == found.end.servers == len(found.hosts_of)
    specs = [one.spec for one in happens.arrivals for _ in one.lifetimes]
    here: dict[str, list[Resources]] = {row.name: [] for row in happens.hosts}
    for number, host in found.hosts_of.items():
        spec = specs[number] if number >= 0 else happens.residents[number].spec
        here[host].append(spec.resources)
    for row in rows_of(found.table)[0]:
        assert (row.used, row.servers) == (total(here[row.name]), len(here[row.name]))
        assert 0 <= row.building <= row.servers
    fresh = HostTable(*rows_of(found.table))
    assert np.array_equal(fresh.numbers, found.table.numbers), "no rounding is left behind"


def test_the_same_seed_gives_the_same_outcome_and_another_one_another() -> None:
    pace = Pace(rate=1.0, lifetime=300.0)
    hosts = tuple(
        generated([Kind(4, Resources(8, 16384, 200))], HostRow("", Resources(1, 1, 1)), 1)
    )

    def outcome(seed: int) -> list[str | None]:
        drawn = arrivals(classic(), 200, pace, np.random.default_rng(seed))
        return run(Scenario(hosts, arrivals=tuple(drawn)), DEFAULT, seed, at_once).picks

    assert outcome(1) == outcome(1) != outcome(2)


def test_giving_back_is_the_reverse_of_taking() -> None:
    row = HostRow("h", Resources(3, 1000, 7), cpu_ratio=1.1, ram_ratio=0.7, disk_ratio=1.3)
    table, wanted = HostTable([row]), Resources(1, 333, 2)
    for _ in range(3):
        table.take(0, wanted)
    table.built(0)
    table.give(0, wanted, building=False)
    table.give(0, wanted)
    assert rows_of(table)[0] == [replace(row, used=wanted, servers=1, building=1)]
    table.give(0, wanted)
    assert np.array_equal(table.numbers, HostTable([row]).numbers)
    assert table.members.tolist() == [0]


@many
@given(SEEDS)
def test_a_tables_rows_make_the_same_table(seed: int) -> None:
    known = case(seed)
    rows, aggregates = rows_of(HostTable(known.rows, known.aggregates))
    assert rows == known.rows
    names = {row.name for row in rows}
    assert aggregates == sorted(
        (one for one in known.aggregates if one.hosts & names), key=lambda one: one.name
    )


def test_figures_are_those_of_the_page() -> None:
    small, large = RequestSpec(Resources(1, 100, 0)), RequestSpec(Resources(4, 400, 0), None)
    hosts = [
        HostRow("full of RAM", Resources(8, 1000, 10), Resources(2, 950, 0)),
        HostRow("half", Resources(8, 1000, 10), Resources(4, 500, 0)),
        HostRow("down", Resources(8, 1000, 10), usable=False),
    ]
    table = HostTable(hosts)
    looks = Looks([small, large], DEFAULT, table)
    assert looks.largest == large
    now = looks.at(table, 5.0, Counts(asked=3), 2)
    assert (now.at, now.hosts, now.servers) == (5.0, 2, 2)
    assert now.used == {"vcpus": 6 / 16, "ram_mb": 1450 / 2000, "disk_gb": 0.0}
    # On the first no flavor's 100 MiB are left: its 6 vCPUs and 10 GiB help nobody.
    assert now.stranded == {"vcpus": 6 / 16, "ram_mb": 0.0, "disk_gb": 10 / 20}
    assert now.imbalance["vcpus"] == pytest.approx(0.125 / 0.375)
    assert now.imbalance["disk_gb"] == 0.0
    # 10 vCPUs and 550 MiB are free in all: one, and it does fit on the second.
    assert (now.largest_fit, now.largest_ideal, now.fragmentation) == (1, 1, 0.0)
    table.take(1, small.resources)
    table.take(1, small.resources)
    now = looks.at(table, 6.0, Counts(), 4)
    assert (now.largest_fit, now.largest_ideal, now.fragmentation) == (0, 0, 0.0)


def test_fragmentation_counts_what_would_fit_were_all_room_in_one_place() -> None:
    rows = [HostRow(f"h{n}", Resources(8, 1000, 10), Resources(6, 0, 0)) for n in range(6)]
    table = HostTable(rows)
    now = Looks([RequestSpec(Resources(4, 100, 0))], DEFAULT, table).at(table, 0.0, Counts(), 0)
    assert (now.largest_fit, now.largest_ideal, now.fragmentation) == (0, 3, 1.0)


def test_packing_keeps_room_for_the_largest_that_spreading_breaks_up() -> None:
    small, large = RequestSpec(Resources(1, 100, 0)), RequestSpec(Resources(8, 800, 0))
    hosts = tuple(HostRow(f"h{n}", Resources(8, 1000, 10)) for n in range(4))
    asked = tuple(Arrival(float(at), small, (FOR_GOOD,)) for at in range(8))
    happens = Scenario(hosts, arrivals=asked, flavors=(small, large), build_seconds=0.0)
    pack = policies.make(multipliers={"ram": -1.0, "cpu": -1.0, "disk": -1.0})
    spread, packed = (run(happens, one, 1, at_once).end for one in (DEFAULT, pack))
    assert (spread.largest_fit, spread.largest_ideal) == (0, 3)
    assert (packed.largest_fit, packed.largest_ideal) == (3, 3)


def test_servers_of_a_lost_rack_move_and_those_that_do_not_fit_are_counted() -> None:
    spec = RequestSpec(Resources(2, 100, 0), flavor_name="two")
    hosts = tuple(HostRow(f"h{n}", Resources(4, 1000, 10)) for n in range(3))
    asked = (Arrival(1.0, spec, (FOR_GOOD,) * 5),)
    end = run(Scenario(hosts, arrivals=asked, lost=frozenset({"h0"})), DEFAULT, 1, at_once)
    counts = end.end.counts
    assert (counts.placed, counts.moved, counts.homeless, counts.lost_hosts) == (5, 1, 1, 1)
    assert end.refused_by == {"vcpus": 2}
    assert end.refused_flavors == {"two": 1}
    assert set(end.hosts_of.values()) == {"h1", "h2"}


def test_arrivals_keep_their_rate_lifetime_and_mix() -> None:
    mix = Mix(
        (RequestSpec(Resources(1, 1, 1), flavor_name="a"), RequestSpec(Resources(2, 2, 2))), (3, 1)
    )
    drawn = arrivals(mix, 10_003, Pace(rate=2.0, lifetime=50.0, size=10), np.random.default_rng(7))
    stays = [one for request in drawn for one in request.lifetimes]
    assert [len(one.lifetimes) for one in drawn] == [10] * 1000 + [3]
    assert drawn[-1].at == pytest.approx(10_003 / 2, rel=0.1)
    assert np.mean(stays) == pytest.approx(50, rel=0.05)
    assert sum(one.spec.flavor_name == "a" for one in drawn) == pytest.approx(750, rel=0.1)
    assert kinds(drawn) == kinds(drawn[:50])
    assert len(kinds(drawn)) == 2
    for wrong in ((), (0.0, 0.0), (1.0, -1.0), (1.0, math.nan)):
        with pytest.raises(Invalid, match="mix of flavors"):
            Mix(mix.specs, wrong)


def test_hosts_are_made_added_and_lost_by_name() -> None:
    like = HostRow("", Resources(1, 1, 1), cpu_ratio=2.0)
    rows = generated([Kind(2, Resources(8, 8, 8)), Kind(8, Resources(4, 4, 4))], like, 3)
    assert [rows[0].name, rows[9].name, rows[9].total.vcpus] == ["host-01", "host-10", 4]
    assert {row.cpu_ratio for row in rows} == {2.0}
    assert sorted(in_zone(rows, "zone-3")) == ["host-08", "host-09", "host-10"]
    with pytest.raises(Invalid, match="zone-1, zone-2, zone-3"):
        in_zone(rows, "zone-4")
    more = added([*rows, replace(rows[0], name="added-00001")], 2, None)
    assert [(row.name, row.total.vcpus) for row in more] == [("added-00002", 4), ("added-00003", 4)]
    dead = sorted(rack(rows, 4, np.random.default_rng(1)))
    first = int(dead[0][-2:])
    assert dead == [f"host-{number:02}" for number in range(first, first + 4)]
    with pytest.raises(Invalid, match="there are 10"):
        rack(rows, 11, np.random.default_rng(1))
    with pytest.raises(Invalid, match="no host"):
        added([], 1, None)


def test_a_lost_hosts_aggregate_still_holds_for_the_others() -> None:
    hosts = tuple(HostRow(f"h{n}", Resources(8, 1000, 10)) for n in range(3))
    only_a = (AggregateRow("a", frozenset({"h0", "h1"}), {"instance_type": "x"}),)
    policy = policies.make(["aggregate_type_affinity"])
    asked = (Arrival(1.0, RequestSpec(Resources(8, 10, 0), flavor_name="y"), (FOR_GOOD,) * 2),)
    happens = Scenario(hosts, only_a, (), asked, lost=frozenset({"h0"}), lost_at=0.0)
    assert run(happens, policy, 1, at_once).picks == ["h2", None]
