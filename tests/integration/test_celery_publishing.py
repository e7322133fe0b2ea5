"""Sending and reporting while Redis is dead or hangs: as Celery comes, and as we do it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from app.broker import AWAY
from app.celery import make_app
from app.models import Action
from app.publisher import publisher
from app.tasks import results
from tests.asking import add_image, caller, create
from tests.cloud import Cloud, allowed, eventually, free_port
from tests.integration.celery_workers import PACKAGE, Workers, workers

__all__ = ["workers"]

SEND = f"from {PACKAGE}.stock import app; app.send_task('facts.chore', queue='stock')"
BLOCKED_SECONDS = 6.0


def seconds_to_fail() -> float:
    """How long a ring takes that cannot be heard."""
    begun = time.monotonic()
    with pytest.raises(AWAY):
        publisher().send_task("facts.chore", queue="ours")
    return time.monotonic() - begun


def test_a_ring_fails_soon_when_redis_is_dead_and_when_it_hangs(workers: Workers) -> None:
    """Stock, with a result backend, blocks for 19 s and for ever; a 202 would wait as long."""
    cloud = workers.cloud
    publisher().send_task("facts.chore", queue="ours")
    cloud.processes["redis"].send_signal(signal.SIGSTOP)
    assert seconds_to_fail() < allowed(4)
    cloud.processes["redis"].send_signal(signal.SIGCONT)
    publisher().send_task("facts.chore", queue="ours")
    cloud.processes["redis"].send_signal(signal.SIGSTOP)
    hung = stock_sender(cloud, cloud.redis_port)
    dead = stock_sender(cloud, free_port())
    time.sleep(BLOCKED_SECONDS)
    assert (hung.poll(), dead.poll()) == (None, None)
    for sender in (hung, dead):
        sender.kill()
        sender.wait(5)
    cloud.kill("redis")
    assert seconds_to_fail() < allowed(2)
    publisher.cache_clear()
    assert seconds_to_fail() < allowed(2)


def stock_sender(cloud: Cloud, port: int) -> subprocess.Popen[bytes]:
    """A process that sends one message as Celery comes."""
    env = cloud.env(broker_url=f"redis://127.0.0.1:{port}/0")
    return subprocess.Popen([sys.executable, "-c", SEND], env=env)


def test_a_result_that_cannot_be_stored_is_a_warning_and_soon(workers: Workers) -> None:
    make_app()  # the current app from now on
    ended = Action(id="a1", kind="stop", server_id="s1", state="succeeded", finished_at=1.0)
    workers.cloud.processes["redis"].send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    results.store(ended)
    assert time.monotonic() - begun < allowed(8)
    workers.cloud.kill("redis")
    begun = time.monotonic()
    results.store(ended)
    assert time.monotonic() - begun < allowed(2)


def test_progress_that_cannot_be_told_fails_a_stock_task(workers: Workers) -> None:
    workers.start("stock")
    go = workers.cloud.directory / "go"
    workers.ask("stock", str(go), task="report")
    workers.did("stock", "report begun")
    workers.cloud.kill("redis")
    go.touch()
    told = "Exception raised outside body"  # not even the failure can be stored
    eventually(lambda: told in workers.cloud.log("stock"), 40, "the task fails")
    assert workers.marks("stock") == ["report begun"]


def test_a_build_goes_on_and_ends_well_though_redis_dies_under_it(cloud: Cloud) -> None:
    """Neither its progress nor the next step of its chain can be told; it is not built again."""
    cloud.start_control()
    cloud.start_host("n1", fake_delay="3")
    cloud.hosts_up("n1")
    who = caller(cloud)
    [(_, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
    eventually(lambda: cloud.action(action_id).progress, 20, "the build tells its progress")
    cloud.kill("redis")
    time.sleep(4)  # longer than the build
    cloud.start_redis()
    action = cloud.finished(action_id)
    assert (action.state, action.tries) == ("succeeded", 0), action.fault
    assert [event for event in cloud.events(action_id) if event[0] == "build"] == [
        ("build", "do", "succeeded")
    ]


@pytest.mark.full
def test_a_stock_chain_ends_where_redis_died(workers: Workers) -> None:
    """The step succeeded, is marked as failed, and the next one is never sent."""
    from tests.integration.celery_facts.ours import app

    workers.start("stock")
    marks = str(workers.cloud.directory / "stock.marks")
    steps = [
        app.signature("facts.chore", (marks, word, 2.0), immutable=True, queue="stock")
        for word in ("first", "second")
    ]
    (steps[0] | steps[1]).apply_async()
    workers.did("stock", "first begun")
    workers.cloud.kill("redis")
    workers.did("stock", "first done")
    eventually(lambda: "raised unexpected" in workers.cloud.log("stock"), 60, "it is a failure")
    workers.cloud.start_redis()
    workers.ask("stock", "third")
    workers.did("stock", "third done", 40)
    assert "second begun" not in workers.marks("stock")
