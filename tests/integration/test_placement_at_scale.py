"""Many servers at once through the real pipeline: placed where there is room, never beyond it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.models import Action, Allocation, Host
from tests.asking import adopt
from tests.cloud import Cloud, running
from tests.postgres import fresh_database
from tests.rush import Rush, fresh_name, watched

BOTH = ("sqlite", "postgresql")


@contextmanager
def a_cloud(
    kind: str, request: pytest.FixtureRequest, path: Path, patch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """A cloud on that database."""
    url = ""
    if kind == "postgresql":
        url = fresh_database(request.getfixturevalue("postgres"), fresh_name("rush"))
    with running(Cloud(path, database_url=url)) as cloud:
        adopt(cloud, patch)
        yield cloud


def crowded(rush: Rush, servers: int, fit: int) -> None:
    """More single creates at once than fit: so many run, and each other says why it does not."""
    rush.start()
    with watched(rush.cloud) as wrong:
        rush.ask(servers, 1)
        states = rush.ended(servers)
    assert wrong == []
    assert states == Counter({"active": fit, "error": servers - fit})
    failed = rush.cloud.scalars(select(Action).where(Action.state == "failed"))
    assert {action.fault["code"] for action in failed} == {"no_valid_host"}
    for action in failed:
        assert f"0 of {rush.hosts} hosts fit: " in action.fault["message"]
        assert f"{rush.hosts} are short of vCPUs" in action.fault["message"]
        assert action.placement["refused"]["vcpus"] == rush.hosts
    assert rush.cloud.scalars(select(func.sum(Host.used_vcpus)))[0] == fit
    assert rush.cloud.scalars(select(func.count()).select_from(Allocation))[0] == fit


def in_batches(rush: Rush, requests: int, servers: int) -> None:
    """Requests of many servers each, all of which fit, spread evenly."""
    rush.start()
    with watched(rush.cloud) as wrong:
        rush.ask(requests, servers)
        states = rush.ended(60 + requests * servers)
    assert wrong == []
    assert states == Counter({"active": requests * servers})
    each = set(rush.cloud.scalars(select(Host.servers)))
    assert max(each) - min(each) <= requests, "requests decided at once may not know of each other"


@pytest.mark.parametrize("kind", BOTH)
def test_two_scheduler_workers_fill_a_small_cloud_to_the_last_place(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_cloud(kind, request, tmp_path, monkeypatch) as cloud:
        crowded(Rush(cloud, hosts=10, room=3, schedulers=2), servers=40, fit=30)


def test_requests_of_many_are_placed_without_excess(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_cloud("sqlite", request, tmp_path, monkeypatch) as cloud:
        in_batches(Rush(cloud, hosts=30, room=4), requests=3, servers=30)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("schedulers", [2, 4])
@pytest.mark.parametrize("kind", BOTH)
def test_two_thousand_creates_fill_a_cloud_with_room_for_fifteen_hundred(
    kind: str,
    schedulers: int,
    request: pytest.FixtureRequest,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with a_cloud(kind, request, tmp_path, monkeypatch) as cloud:
        crowded(Rush(cloud, hosts=50, room=30, schedulers=schedulers), servers=2000, fit=1500)


@pytest.mark.full
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", BOTH)
def test_a_thousand_servers_of_ten_requests_run_on_a_thousand_hosts(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with a_cloud(kind, request, tmp_path, monkeypatch) as cloud:
        in_batches(Rush(cloud, hosts=1000, room=64), requests=10, servers=100)
