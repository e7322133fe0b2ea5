"""The recovery matrix: Redis away, hung, and back with nothing in it; the database away."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.models import Action, Server
from tests.asking import add_image, adopt, caller
from tests.cloud import Cloud, eventually, running
from tests.http_client import Client
from tests.matrix import record
from tests.postgres import CRASH, PostgreSQL, postgresql_server

AWAY, HUNG = 12.0, 15.0
"""Seconds: longer than clients wait between their first attempts to connect again."""


def started(directory: Path, database_url: str = "") -> Cloud:
    """A cloud with the product's own times, whose builds take half a second."""
    settings = {"beat_seconds": "5", "fake_delay": "0.5"}
    return Cloud(directory, settings=settings, database_url=database_url)


@pytest.fixture
def busy(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """Web, a scheduler worker and two hosts; on PostgreSQL where a test brings one."""
    url = request.getfixturevalue("database").url if "database" in request.fixturenames else ""
    with running(started(tmp_path, url)) as made:
        adopt(made, monkeypatch)
        made.start_web()
        made.start_control()
        for host in ("n1", "n2"):
            made.start_host(host)
        made.hosts_up("n1", "n2", seconds=60)
        yield made


@pytest.fixture
def database() -> Iterator[PostgreSQL]:
    """A PostgreSQL that the test stops and starts."""
    with postgresql_server() as made:
        yield made


class User:
    """Asks for one of everything."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self.client = Client(f"http://127.0.0.1:{cloud.web_port}")
        self.image = add_image(cloud, caller(cloud).project_id)
        self.servers, tasks = zip(*(self.client.create(self.image) for _ in range(3)), strict=True)
        assert all(cloud.finished(task).state == "succeeded" for task in tasks)
        self.slowest = 0.0

    def ask(self, number: int) -> list[str]:
        """A create, and a stop of the server `number`; the tasks."""
        tasks = []
        for request in (
            lambda: self.client.create(self.image)[1],
            lambda: self.client.act(self.servers[number], **{"os-stop": None}),
        ):
            begun = time.monotonic()
            tasks.append(request())
            self.slowest = max(self.slowest, time.monotonic() - begun)
        return tasks

    def end_well(self, tasks: list[str]) -> None:
        """All tasks end well."""
        for task in tasks:
            action = self.cloud.finished(task, 90)
            assert action.state == "succeeded", (action.kind, action.fault)


def wait_since(begun: float, seconds: float) -> None:
    """Let an outage last."""
    eventually(lambda: time.monotonic() - begun > seconds, seconds + 5, "the outage lasts")


def test_redis_is_away_and_comes_back_with_nothing(busy: Cloud) -> None:
    user = User(busy)
    tasks = user.ask(0)
    busy.kill("redis")
    gone = time.monotonic()
    user.slowest = 0.0
    tasks += user.ask(1)
    assert user.slowest < 3, f"an answer took {user.slowest:.1f} s"
    wait_since(gone, AWAY)
    busy.start_redis()
    begun = time.monotonic()
    user.end_well(tasks)
    record("redis-away", "kill", time.monotonic() - begun, "0.5 s of a build included")


def test_redis_hangs(busy: Cloud) -> None:
    user = User(busy)
    tasks = user.ask(0)
    busy.processes["redis"].send_signal(signal.SIGSTOP)
    gone = time.monotonic()
    user.slowest = 0.0
    tasks += user.ask(1)
    assert user.slowest < 5, f"an answer took {user.slowest:.1f} s"
    wait_since(gone, HUNG)
    busy.processes["redis"].send_signal(signal.SIGCONT)
    begun = time.monotonic()
    user.end_well(tasks)
    record("redis-hung", "stop", time.monotonic() - begun, "0.5 s of a build included")


def test_the_database_is_away(database: PostgreSQL, busy: Cloud) -> None:
    user = User(busy)
    tasks = user.ask(0)
    accepted = busy.scalars(select(func.count(Action.id)))
    servers = set(busy.scalars(select(Server.id)))
    database.stop(CRASH)
    gone = time.monotonic()
    for _ in range(3):
        with pytest.raises(AssertionError, match="503"):
            user.ask(1)
    wait_since(gone, 5)
    database.start()
    begun = time.monotonic()
    busy.engine.dispose()
    assert busy.scalars(select(func.count(Action.id))) == accepted, "what was refused is not there"
    assert set(busy.scalars(select(Server.id))) == servers
    user.end_well(tasks)
    record("database", "restart", time.monotonic() - begun, "0.5 s of a build included")
    user.end_well(user.ask(1))
