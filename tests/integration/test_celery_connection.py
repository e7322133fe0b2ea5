"""The broker dies under a worker: as Celery comes, and with our transport and consumer."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.broker import AWAY
from tests.cloud import eventually, free_port
from tests.integration.celery_workers import Workers, at_work, workers
from tests.rabbitmq import rabbitmq

__all__ = ["workers"]


def test_a_worker_survives_the_broker_that_dies_while_it_holds_a_message(
    workers: Workers,
) -> None:
    for app in ("stock", "ours"):
        workers.start(app, worker_concurrency=2, broker_connection_max_retries=None)
    for app in ("stock", "ours"):
        workers.ask(app, "first", seconds=4, task="late")
    for app in ("stock", "ours"):
        workers.did(app, "first begun")
    workers.cloud.kill("redis")
    assert workers.ended("stock") == 1
    assert "'NoneType' object has no attribute 'hostname'" in workers.cloud.log("stock")
    workers.did("ours", "first done")
    workers.cloud.start_redis()
    workers.ask("ours", "second")
    workers.did("ours", "second done")
    assert workers.alive("ours")
    assert "'NoneType' object" not in workers.cloud.log("ours")


def test_a_restored_message_and_a_rejected_one_survive_it_too(workers: Workers) -> None:
    """The guard is below ack, reject and restore; the stock class fails in each."""
    from kombu import Connection
    from kombu.transport import redis as stock
    from redis.exceptions import ConnectionError as RedisConnectionError

    from app.hardening.redis_transport import Transport

    url = f"redis://127.0.0.1:{workers.cloud.redis_port}/0"
    for transport, expected in (
        (stock.Transport, AttributeError),
        (Transport, RedisConnectionError),
    ):
        with Connection(url, transport=transport) as connection:
            channel = connection.channel()
            connection.collect()
            for late in (
                lambda channel=channel: channel.basic_ack("tag"),
                lambda channel=channel: channel.basic_reject("tag", requeue=False),
                lambda channel=channel: channel.basic_reject("tag", requeue=True),
                channel.qos.restore_unacked,
                channel.qos.restore_visible,
            ):
                with pytest.raises(expected):
                    late()


def back_after(workers: Workers, app: str, outage: float) -> float:
    """Seconds from the return of Redis until the worker runs a task again."""
    workers.cloud.kill("redis")
    time.sleep(outage)
    workers.cloud.start_redis()
    returned = time.monotonic()
    workers.ask(app, f"after {outage}")
    workers.did(app, f"after {outage} done", 30)
    return time.monotonic() - returned


@pytest.mark.full
def test_a_worker_is_back_soon_after_its_broker_however_long_that_was_away(
    workers: Workers,
) -> None:
    workers.start("stock")
    workers.start("ours")
    workers.cloud.kill("redis")
    # Stock tries again after 2, 4, 6, 8 … seconds: 6 and 12 s from now.
    eventually(lambda: "Trying again in 6.00 seconds" in workers.cloud.log("stock"), 30)
    workers.cloud.start_redis()
    returned = time.monotonic()
    for app in ("stock", "ours"):
        workers.ask(app, "again")
    workers.did("ours", "again done")
    ours = time.monotonic() - returned
    workers.did("stock", "again done")
    assert ours < 4.5
    assert time.monotonic() - returned > 4.5
    assert "Trying again in 4.00" not in workers.cloud.log("ours")


@pytest.mark.full
def test_a_worker_is_back_soon_after_an_outage_of_forty_seconds(workers: Workers) -> None:
    workers.start("ours")
    assert back_after(workers, "ours", 40) < 4.5


def test_a_worker_waits_for_its_broker_at_start_up_and_never_gives_up(workers: Workers) -> None:
    workers.cloud.kill("redis")
    workers.start("stock", ready=False, broker_connection_max_retries=2)  # stock: 100, in 50 min
    workers.start("ours", ready=False)
    assert workers.ended("stock", 30) == 1
    log = workers.cloud.log
    eventually(lambda: log("ours").count("Trying again in 3.00 seconds") >= 2, 30)
    assert "/None)" in log("ours")
    workers.cloud.start_redis()
    workers.ask("ours", "first")
    workers.did("ours", "first done")


@pytest.mark.full
def test_a_worker_is_back_soon_after_rabbitmq_was_away_and_was_not_deaf(tmp_path: Path) -> None:
    with rabbitmq() as node:
        redis = f"redis://127.0.0.1:{free_port()}/0"
        with at_work(tmp_path, broker_url=node.url, result_url=redis) as workers:
            workers.start("ours", deaf_seconds="3")
            workers.ask("ours", "long", seconds=5)  # its queue is on disk, and nobody is deaf
            workers.did("ours", "long done")
            node.kill()
            eventually(lambda: "in 3.00 seconds... (6/None)" in workers.cloud.log("ours"), 40)
            node.start()
            log = workers.cloud.log
            eventually(lambda: log("ours").count("Connected to amqp") == 2, 4.5, "it is back")
            time.sleep(5)
            assert workers.alive("ours")
            eventually(lambda: heard(workers), 40, "the queue's leader is back")
            workers.did("ours", "again done")


def heard(workers: Workers) -> bool:
    """Ask; whether the broker confirmed it."""
    try:
        workers.ask("ours", "again")
    except AWAY:
        return False
    return True
