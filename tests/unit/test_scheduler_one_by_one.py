"""The columns decide exactly as one host at a time would: filters, weights, order, consumption."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.scheduler import policy
from app.scheduler.filters import FILTERS
from app.scheduler.host_table import HostTable
from app.scheduler.select import select
from tests.one_by_one.choice import choose
from tests.one_by_one.filters import FILTERS as ONE_BY_ONE
from tests.one_by_one.generated import Case, case
from tests.one_by_one.host import Host

CASES = 800
divided: Counter[str] = Counter()
seen: Counter[str] = Counter()


def table_of(given: Case) -> HostTable:
    return HostTable(given.rows, given.aggregates)


def verdicts(name: str, given: Case) -> list[bool]:
    """One filter's word on each host before anything is taken, by the columns."""
    table = table_of(given)
    table.set_members(given.spec.group.members if given.spec.group else {})
    mask = FILTERS[name].mask(table, given.spec, given.wish.options)
    return [True] * len(table) if mask is None else np.asarray(mask).tolist()


@settings(
    max_examples=CASES,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=list(HealthCheck),
)
@given(st.integers(0, 2**48))
def test_every_choice_is_that_of_one_host_at_a_time(seed: int) -> None:
    given = case(seed)
    seen["cases"] += 1
    hosts = [Host.of(row, given.aggregates) for row in given.rows]
    for host in hosts:
        host.members = given.spec.group.members.get(host.row.name, 0) if given.spec.group else 0
    for name, rule in ONE_BY_ONE.items():
        plain = [bool(rule(host, given.spec, given.wish.options, hosts)) for host in hosts]
        assert verdicts(name, given) == plain, name
        divided[name] += 0 < sum(plain) < len(plain)
    wish = given.wish
    chosen = choose(given.rows, given.aggregates, given.spec, wish, given.count, given.alternates)
    names = [name for name, _ in wish.weighers]
    made = policy.make(wish.filters, names, dict(wish.weighers), wish.options)
    found = select(table_of(given), given.spec, given.count, given.alternates, made)
    assert found.picks == chosen.picks
    assert found.refused == chosen.refused
    for ours, plain_scores in zip(found.weights, chosen.weights, strict=True):
        assert {n: s for n, s in plain_scores.items() if s} == {n: s for n, s in ours.items() if s}
    seen["placed"] += bool(found.picks)
    seen["several"] += len(found.picks) > 1


def test_at_least_three_cases_in_ten_divide_the_hosts_at_every_filter(
    capsys: pytest.CaptureFixture[str],
) -> None:
    if not seen["cases"]:
        pytest.skip("needs the test above in the same run")
    shares = {name: divided[name] / seen["cases"] for name in ONE_BY_ONE}
    with capsys.disabled():
        print(f"\n{dict(seen)}; cases in which a filter both accepts and refuses:")
        print(", ".join(f"{name} {share:.0%}" for name, share in shares.items()))
    assert set(ONE_BY_ONE) == set(FILTERS)
    assert {name for name, share in shares.items() if share < 0.3} == {"all_hosts"}
    assert seen["placed"] > 0.3 * seen["cases"]
    assert seen["several"] > 0.1 * seen["cases"]


def test_the_same_table_answers_the_same_after_it_was_copied_and_put_back() -> None:
    for seed in range(50):
        given = case(seed)
        table = table_of(given)
        first = select(table.copy(), given.spec, given.count, given.alternates)
        for position, row in enumerate(given.rows):
            table.put(position, row)
        assert select(table.copy(), given.spec, given.count, given.alternates) == first
