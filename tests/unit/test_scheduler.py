"""Filters and weighers, as tables of cases."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from app.domain.request_spec import AFFINITY, ANTI_AFFINITY, SOFT_AFFINITY, Group, RequestSpec
from app.domain.resources import Resources
from app.errors import Invalid
from app.scheduler import plugins, policy
from app.scheduler.filters import FILTERS
from app.scheduler.host_table import HostTable
from app.scheduler.options import Options
from app.scheduler.rows import AggregateRow, HostRow
from app.scheduler.rules import Filter
from app.scheduler.select import select

ROOM = Resources(8, 8192, 100)
HOST = HostRow("n1", ROOM)
WANTED = RequestSpec(Resources(2, 2048, 20))


def names(rows: list[HostRow], spec: RequestSpec, count: int = 1) -> list[str]:
    """The hosts picked for `count` servers."""
    return [pick[0] for pick in select(HostTable(rows), spec, count, 2).picks]


@pytest.mark.parametrize(
    ("host", "spec", "refusal"),
    [
        (replace(HOST, usable=False), WANTED, "compute"),
        (HOST, replace(WANTED, zone="east"), "availability_zone"),
        (HOST, replace(WANTED, forced_host="n2"), "forced_host"),
        (HOST, replace(WANTED, tried=frozenset({"n1"})), "retry"),
        (replace(HOST, used=Resources(7, 0, 0)), WANTED, "vcpus"),
        (replace(HOST, used=Resources(0, 6145, 0)), WANTED, "ram"),
        (replace(HOST, used=Resources(0, 0, 81)), WANTED, "disk"),
    ],
)
def test_each_filter_refuses_and_is_counted(host: HostRow, spec: RequestSpec, refusal: str) -> None:
    selection = select(HostTable([host]), spec, 1, 2)
    assert selection.picks == []
    assert {name for name, count in selection.refused.items() if count} == {refusal}
    assert selection.sentence() == f"0 of 1 hosts fit: 1 is {FILTERS[refusal].because}"


def test_a_host_with_exactly_enough_fits() -> None:
    full = replace(HOST, used=Resources(6, 6144, 80))
    assert names([full], WANTED) == ["n1"]


def test_servers_of_one_request_spread_and_fill_every_host_exactly() -> None:
    rows = [replace(HOST, name=f"n{number}") for number in (1, 2)]
    assert names(rows, WANTED, 9) == ["n1", "n2"] * 4


def test_alternates_follow_best_first() -> None:
    rows = [
        replace(HOST, name=f"n{number}", used=Resources(number, number * 512, number))
        for number in (3, 1, 2)
    ]
    assert select(HostTable(rows), WANTED, 1, 1).picks == [["n1", "n2"]]


def test_a_host_whose_builds_failed_comes_last() -> None:
    rows = [replace(HOST, failed_builds=1), replace(HOST, name="n2", used=Resources(4, 4096, 50))]
    assert names(rows, WANTED) == ["n2"]


def test_an_empty_cloud_says_what_to_do() -> None:
    assert "no host has joined" in select(HostTable([]), WANTED, 1, 2).sentence()


def test_what_a_request_asks_of_hosts_is_refused_where_it_is_not_so() -> None:
    asked = {
        "traits": replace(WANTED, extra_specs={"trait:HW_X": "required"}),
        "compute_capabilities": replace(
            WANTED, extra_specs={"capabilities:hypervisor_type": "s== xen"}
        ),
        "image_properties": replace(WANTED, image_properties={"hw_architecture": "arm64"}),
        "same_host": replace(WANTED, same_host=frozenset({"n2"})),
        "different_host": replace(WANTED, different_host=frozenset({"n1"})),
        "group_affinity": replace(WANTED, group=Group(AFFINITY, {"n2": 1})),
        "group_anti_affinity": replace(WANTED, group=Group(ANTI_AFFINITY, {"n1": 1})),
    }
    everything = policy.make([*asked])
    for name, spec in asked.items():
        assert select(HostTable([HOST]), spec, 1, 0, everything).refused[name] == 1, name


def test_an_anti_affinity_group_holds_within_one_request() -> None:
    rows = [replace(HOST, name=name) for name in ("n1", "n2", "n3")]
    spec = replace(WANTED, group=Group(ANTI_AFFINITY, {"n2": 1}))
    found = select(HostTable(rows), spec, 5, 2)
    assert [pick[0] for pick in found.picks] == ["n1", "n3"]
    assert found.refused["group_anti_affinity"] == 3


def test_an_affinity_group_that_is_nowhere_stays_where_its_first_server_goes() -> None:
    rows = [replace(HOST, name=name) for name in ("n1", "n2")]
    assert names(rows, replace(WANTED, group=Group(AFFINITY)), 9) == ["n1"] * 4


def test_a_soft_policy_only_prefers() -> None:
    rows = [replace(HOST, name=name) for name in ("n1", "n2")]
    strong = policy.make(multipliers={"soft_affinity": 100.0})
    spec = replace(WANTED, group=Group(SOFT_AFFINITY))
    found = select(HostTable(rows), spec, 6, 0, strong)
    assert [pick[0] for pick in found.picks] == ["n1"] * 4 + ["n2"] * 2


def test_one_server_never_gets_more_than_the_machine_has_whatever_the_ratio() -> None:
    spec = replace(WANTED, resources=Resources(9, 1, 1))
    assert select(HostTable([replace(HOST, cpu_ratio=16.0)]), spec, 1, 0).refused["vcpus"] == 1


def test_aggregates_set_multipliers_for_their_hosts() -> None:
    rows = [replace(HOST, name="n1", used=Resources(4, 0, 0)), replace(HOST, name="n2")]
    packed = AggregateRow("packed", frozenset({"n1", "n2"}), {"cpu_weight_multiplier": "-1.0"})
    assert select(HostTable(rows, [packed]), WANTED, 1, 0).picks == [["n1"]]
    odd = replace(packed, metadata={"cpu_weight_multiplier": "much"})
    assert select(HostTable(rows, [odd]), WANTED, 1, 0).picks == [["n2"]]


def test_a_subset_is_chosen_from_at_random_and_only_from_it() -> None:
    rows = [replace(HOST, name=f"n{n}", used=Resources(0, 1024 * n, 0)) for n in range(6)]
    wide = policy.make(options=Options(host_subset_size=3))
    chance = random.Random(1)
    found = {select(HostTable(rows), WANTED, 1, 0, wide, chance).picks[0][0] for _ in range(60)}
    assert found == {"n0", "n1", "n2"}


def test_equal_hosts_are_shuffled_only_when_asked_to() -> None:
    rows = [replace(HOST, name=f"n{n}") for n in range(4)]
    shuffled = policy.make(options=Options(shuffle_best_same_weighed_hosts=True))
    chance = random.Random(1)
    found = {select(HostTable(rows), WANTED, 1, 0, shuffled, chance).picks[0][0] for _ in range(60)}
    assert found == {"n0", "n1", "n2", "n3"}
    assert {names(rows, WANTED)[0] for _ in range(20)} == {"n0"}


def test_the_winners_scores_are_told_by_weigher() -> None:
    rows = [HOST, replace(HOST, name="n2", used=Resources(4, 0, 0), failed_builds=2)]
    [weights] = select(HostTable(rows), WANTED, 1, 0).weights
    assert (weights["cpu"], weights["build_failure"]) == (1.0, 0.0)


def test_rules_are_known_by_our_names_and_by_novas() -> None:
    made = policy.make(["ComputeFilter", "RamFilter"], ["RAMWeigher"], {"ram": -1.0})
    assert [rule.name for rule in made.filters] == ["compute", "ram"]
    assert [(one.name, one.multiplier) for one in made.weighers] == [("ram", -1.0)]
    with pytest.raises(Invalid, match="'NoSuchFilter'"):
        policy.make(["NoSuchFilter"])


def test_a_rule_that_fails_or_answers_in_another_shape_is_named() -> None:
    def fails(*given: object) -> None:
        raise ZeroDivisionError

    for mask, what in ((fails, "ZeroDivisionError"), (lambda *given: True, "array of two bool")):
        broken = Filter("mine", "not mine", mask)  # type: ignore[arg-type]
        with pytest.raises(Invalid, match=f"mine .*{what}"):
            plugins.prove(replace(policy.DEFAULT, filters=(broken,)))


def test_a_rule_for_one_host_at_a_time_sees_it_by_novas_names() -> None:
    seen: list[plugins.OneHost] = []

    def odd(host: plugins.OneHost, spec: RequestSpec) -> bool:
        seen.append(host)
        return bool(host.name == "n2")

    rows = [HOST, replace(HOST, name="n2")]
    group = AggregateRow("odd", frozenset({"n2"}))
    only = replace(policy.DEFAULT, filters=(Filter("odd", "even", plugins.per_host(odd)),))
    assert select(HostTable(rows, [group]), WANTED, 1, 0, only).picks == [["n2"]]
    assert (seen[1].attributes["free_ram_mb"], seen[1].aggregates) == (8192, (group,))
