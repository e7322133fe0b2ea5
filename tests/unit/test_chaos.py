"""The chaos harness: its plans, its mutants, and how it measures recovery."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from tests.chaos import mutant
from tests.chaos.plan import MUTATIONS, Options, blows, fingerprint
from tests.chaos.recovery import _quiet
from tests.chaos.saboteur import Struck

EVERYWHERE = {"web", "scheduler", "host_short", "host_long", "host_hang", "messages"}
EVERYWHERE |= {"redis_kill", "redis_flush", "redis_hang"}


def test_a_seed_decides_the_whole_plan() -> None:
    options = Options(seed=7)
    assert fingerprint(options) == fingerprint(Options(seed=7))
    assert fingerprint(options) != fingerprint(replace(options, seed=8))


@pytest.mark.parametrize(
    ("options", "more"),
    [
        (Options(), set()),
        (Options(database="postgresql"), {"database"}),
        (Options(database="postgresql", broker="rabbitmq"), {"database", "rabbitmq_kill"}),
        (Options(minutes=15), set()),
        (
            Options(minutes=15, real=True, hosts=2, database="postgresql"),
            {"database", "libvirtd_kill", "network_cut"},
        ),
    ],
)
def test_every_kind_of_kill_comes_three_times(options: Options, more: set[str]) -> None:
    found = Counter(blow.kind for blow in blows(options))
    assert set(found) == EVERYWHERE | more
    assert min(found.values()) >= 3, found


def test_of_two_real_hosts_one_is_never_away_for_long() -> None:
    options = Options(minutes=15, real=True, hosts=2)
    long = [blow for blow in blows(options) if blow.kind in ("host_long", "host_hang")]
    long += [blow for blow in blows(options) if blow.kind == "network_cut"]
    long.sort(key=lambda blow: blow.at)
    ends = [blow.at + blow.lasts for blow in long]
    assert all(end < after.at for end, after in zip(ends, long[1:], strict=False))


def test_each_mutation_takes_away_something_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    def look(owner: object, name: str, new: object) -> None:
        assert callable(getattr(owner, name))
        taken.append(name)

    monkeypatch.setattr(mutant, "_patch", look)
    assert set(mutant.MUTATE) == set(MUTATIONS)
    for mutate in mutant.MUTATE.values():
        mutate()
    assert len(taken) >= len(MUTATIONS)


def test_recovery_does_not_count_the_time_of_other_blows() -> None:
    others = [
        Struck("web", 12.0, 14.0),
        Struck("redis_hang", 13.0, 15.0),
        Struck("web", 30.0, 31.0),
    ]
    assert _quiet(10.0, 20.0, others) == 7.0
    assert _quiet(13.5, 14.0, others) == 0.0
    assert _quiet(20.0, 25.0, others) == 5.0
