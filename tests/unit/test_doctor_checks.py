"""The doctor's comparisons that no database would let happen, and those of versions and clocks."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from app.cli.doctor import addresses, software, work
from app.store.audit.addresses import PortRow
from app.store.audit.work import UnderWay

PORT = PortRow(
    "p1",
    "fa:16:3e:00:00:01",
    "10.0.0.5",
    "n",
    "n",
    "10.0.0.0/24",
    "10.0.0.1",
    "s1",
    False,
    False,
    True,
)
STOP = UnderWay(
    "a", "stop", "stop", "do", "h", "up", -100.0, -1.0, "s", "active", "powering-off", False
)


def codes(found: Any) -> list[str]:
    return [one.code for one in found]


def test_two_ports_with_one_mac_or_address_are_told_with_both_servers() -> None:
    other = replace(PORT, id="p2", server_id="s2", mac="FA:16:3E:00:00:01")
    found = list(addresses._doubles([PORT, other]))
    assert codes(found) == ["double_mac", "double_address"]
    assert "servers s1 and s2" in found[0].text
    assert list(addresses._doubles([PORT, replace(other, network_id="m")])) == []


@pytest.mark.parametrize(
    ("port", "code"),
    [
        (PORT, None),
        (replace(PORT, address="10.0.1.5"), "address_outside"),
        (replace(PORT, address="nonsense"), "address_outside"),
        (replace(PORT, address="10.0.0.1"), "address_is_gateway"),
        (replace(PORT, subnet_network_id="m"), "port_network"),
    ],
)
def test_a_port_belongs_into_its_subnet(port: PortRow, code: str | None) -> None:
    assert codes(addresses._place(port)) == ([code] if code else [])


def test_a_host_whose_address_is_a_subnet_s_is_told_with_both() -> None:
    (found,) = addresses._hosts([("n1", "10.0.0.5", "s", "10.0.0.0/24")])
    assert (found.code, found.subject) == ("host_in_subnet", "host n1")
    assert "10.0.0.5 is in subnet s (10.0.0.0/24)" in found.text


@pytest.mark.parametrize(
    ("action", "code"),
    [
        (STOP, None),
        (replace(STOP, late=300.0), "past_deadline"),
        (replace(STOP, late=50.0), None),  # the sweep may have begun to look only now
        (replace(STOP, due=61.0), "ring_overdue"),
        (replace(STOP, due=61.0, host_state="down"), None),
        (replace(STOP, due=61.0, host_state=None), "action_on_no_host"),
        (replace(STOP, due=-700.0), "ring_far"),
        (replace(STOP, task_state=None), "action_without_task"),
        (replace(STOP, task_state=None, direction="undo"), None),
        (replace(STOP, task_state=None, kind="sync", stage="report"), None),
        (replace(STOP, stage="dance"), "unknown_stage"),
        (replace(STOP, kind="dance"), "unknown_stage"),
        (replace(STOP, deleted=True), "action_of_deleted"),
    ],
)
def test_an_action_is_rung_ended_and_shown_in_time(action: UnderWay, code: str | None) -> None:
    assert codes(work._under_way(action)) == ([code] if code else [])


@pytest.mark.parametrize(
    ("kind", "version", "old"),
    [
        ("redis", "6.0.16", True),
        ("redis", "6.2.0", False),
        ("redis", "7.0.15", False),
        ("rabbitmq", "3.9.27", True),
        ("rabbitmq", "3.10.8", False),
        ("postgresql", "12.17", True),
        ("postgresql", "13", False),
        ("sqlite", "3.34.1", True),
        ("redis", "unstable", True),
    ],
)
def test_what_is_too_old_is_told(kind: str, version: str, old: bool) -> None:
    assert bool(list(software._old(kind, software._parsed(version)))) is old


def test_a_clock_more_than_two_seconds_off_is_told() -> None:
    posted: Any = SimpleNamespace(own_skew=1.5, skews={"host worker n1": -2.5})
    [found] = software._clocks(posted)
    assert found.subject == "clock of host worker n1"
    assert "2.5 s behind Redis" in found.text
