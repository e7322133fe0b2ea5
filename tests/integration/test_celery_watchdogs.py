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

DEAF = 3.0
LONGER = 4.5
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
    assert DEAF - 1 < time.monotonic() - begun < DEAF + 4
    assert "takes no messages though the broker answers" in workers.cloud.log("ours")
    for app in ("stock", "ours"):
        workers.ask(app, "after")
    workers.start("ours")
    workers.did("ours", "after done")
    assert workers.alive("stock")
    assert "after begun" not in workers.marks("stock")


def test_a_worker_without_work_or_without_room_is_not_deaf(workers: Workers) -> None:
    workers.start("ours", deaf_seconds=str(DEAF), worker_concurrency=2)
    time.sleep(LONGER)
    for word in ("one", "two"):
        workers.ask("ours", word, seconds=LONGER)
    for word in ("one", "two"):
        workers.did("ours", f"{word} done")
    workers.ask("ours", "three")
    workers.did("ours", "three done")


@pytest.mark.full
def test_a_worker_is_not_deaf_while_it_or_its_broker_stands_still_or_it_ends(
    workers: Workers,
) -> None:
    # More than the pause between two tries to reconnect.
    workers.start("ours", deaf_seconds="8")
    for name in ("ours", "redis"):
        process = workers.cloud.processes[name]
        process.send_signal(signal.SIGSTOP)
        time.sleep(12)
        process.send_signal(signal.SIGCONT)
        workers.ask("ours", f"after {name}")
        workers.did("ours", f"after {name} done", 40)
    workers.cloud.kill("redis")
    time.sleep(12)
    workers.cloud.start_redis()
    workers.ask("ours", "last", seconds=12)
    workers.did("ours", "last begun")
    workers.cloud.processes["ours"].send_signal(signal.SIGTERM)
    assert workers.ended("ours", 30) == 0  # when its task has ended; it took no other meanwhile
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
