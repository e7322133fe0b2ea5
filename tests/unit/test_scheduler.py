"""Filters and weighers, as tables of cases."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.domain.request_spec import RequestSpec
from app.domain.resources import Resources
from app.scheduler.filters import FILTERS, REFUSALS
from app.scheduler.host_table import HostRow, HostTable
from app.scheduler.select import select

ROOM = Resources(8, 8192, 100)
HOST = HostRow("n1", "nova", True, ROOM, Resources(0, 0, 0))
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
    assert selection.sentence() == f"0 of 1 hosts fit: 1 {REFUSALS[refusal]}"


def test_every_filter_has_a_refusal_that_users_can_read() -> None:
    assert {rule.__name__ for rule in FILTERS} == set(REFUSALS)


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
