"""Workers that end because they are deaf or their sweep hangs, and those that must not."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import psycopg
import pytest

from app.celery import make_app
from tests.cloud import Cloud, eventually, running
from tests.integration.celery_workers import Workers, workers
from tests.postgres import fresh_database, postgresql

__all__ = ["workers"]

DEAF = 4.0
LONGER = 7.0
EX_SOFTWARE = 70


@pytest.mark.parametrize("harm", ["hang", "look_away"])
def test_a_worker_that_stays_deaf_ends_and_says_so(workers: Workers, harm: str) -> None:
    """A stock worker in this state stays there until somebody looks."""
    for app in ("stock", "ours"):
        workers.start(app, deaf_seconds=str(DEAF))
        workers.ask(app, "before")
        workers.did(app, "before done")
    begun = time.monotonic()
    make_app().control.broadcast(harm)
    assert workers.ended("ours") == EX_SOFTWARE
    assert DEAF - 1 < time.monotonic() - begun < LONGER
    assert "takes no messages though the broker answers" in workers.cloud.log("ours")
    for app in ("stock", "ours"):
        workers.ask(app, "after")
    workers.start("ours")
    workers.did("ours", "after done")
    assert workers.alive("stock")
    assert "after begun" not in workers.marks("stock")


def test_a_worker_that_is_idle_busy_stopped_or_without_its_broker_is_not_deaf(
    workers: Workers,
) -> None:
    workers.start("ours", deaf_seconds=str(DEAF), worker_concurrency=2)
    time.sleep(LONGER)  # nothing to do
    for word in ("one", "two"):
        workers.ask("ours", word, seconds=LONGER)
    for word in ("one", "two"):  # no room for more
        workers.did("ours", f"{word} done")
    process = workers.cloud.processes["ours"]
    for stopped in (process, workers.cloud.processes["redis"]):
        stopped.send_signal(signal.SIGSTOP)
        time.sleep(LONGER)
        stopped.send_signal(signal.SIGCONT)
        workers.ask("ours", f"after {stopped.pid}")
        workers.did("ours", f"after {stopped.pid} done", 40)
    workers.cloud.kill("redis")
    time.sleep(LONGER)
    workers.cloud.start_redis()
    workers.ask("ours", "last", seconds=LONGER)
    workers.did("ours", "last begun")
    process.send_signal(signal.SIGTERM)  # it ends when its task has, and takes no other
    assert workers.ended("ours", 30) == 0
    assert "last done" in workers.marks("ours")


@contextmanager
def standing_still(url: str) -> Iterator[None]:
    """All of PostgreSQL's processes are stopped: connections stand, nothing answers."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        (pid,) = connection.execute("select pid from pg_stat_activity limit 1").fetchone() or (0,)
    postmaster = psutil.Process(pid).parent()
    assert postmaster is not None
    stopped = [postmaster, *postmaster.children(recursive=True)]
    for process in stopped:
        process.suspend()
    try:
        yield
    finally:
        for process in stopped:
            with suppress(psutil.NoSuchProcess):
                process.resume()


def test_a_scheduler_worker_whose_sweep_hangs_ends_and_its_successor_goes_on(
    tmp_path: Path,
) -> None:
    """The database hangs: no answer, and no error either."""
    with postgresql() as url:
        made = Cloud(
            tmp_path,
            settings={"stale_pass_seconds": "4"},
            database_url=fresh_database(url, "hanging"),
        )
        with running(made):
            made.start_control()
            made.start_host("n1")
            made.hosts_up("n1")
            control = made.processes["control"]
            with standing_still(url):
                eventually(lambda: control.poll() is not None, 20, "the worker ends")
            assert control.returncode == EX_SOFTWARE
            assert "a sweep pass hangs" in made.log("control")
            made.kill("host-n1")
            made.start_control()
            made.start_host("n2")
            made.hosts_up("n2")
