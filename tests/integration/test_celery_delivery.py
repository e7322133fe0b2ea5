"""What Redis does with messages: as Celery comes, and with our settings."""

from __future__ import annotations

from app.celery import make_app
from tests.asking import add_image, caller, create
from tests.cloud import Cloud, eventually
from tests.integration.celery_workers import Workers, workers

__all__ = ["workers"]

IMPATIENT = {
    "visibility_timeout": 1,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}
"""Look every second for messages that have been unacknowledged for longer than a second."""


def test_a_task_longer_than_the_visibility_timeout_runs_once(workers: Workers) -> None:
    """With late ack it is delivered again and again while it runs."""
    workers.start("stock", task_acks_late=True, broker_transport_options=IMPATIENT)
    workers.start("ours", broker_transport_options=IMPATIENT)
    for app in ("stock", "ours"):
        workers.ask(app, "long", seconds=4)
    workers.did("ours", "long done")
    workers.did("stock", "long done")
    assert workers.marks("stock").count("long begun") > 1
    assert workers.marks("ours") == ["long begun", "long done"]


def test_a_worker_takes_no_message_that_it_has_no_thread_for(workers: Workers) -> None:
    """Stock takes four a thread; with this worker's death they are gone, or late by an hour."""
    redis = workers.cloud.redis()
    for app in ("stock", "ours"):
        workers.start(app, worker_concurrency=1)
    for app, seconds in (("stock", 30.0), ("ours", 2.0)):
        for word in ("first", "second", "third"):
            workers.ask(app, word, seconds)
        workers.did(app, "first begun")
    assert redis.llen("ours") == 2
    eventually(lambda: redis.llen("stock") == 0, 3, "stock has taken all")
    eventually(lambda: redis.hlen("unacked") == 2, 3, "stock's two wait unacknowledged in it")
    workers.did("ours", "third done", 30)
    begun_and_done = [mark.split()[1] for mark in workers.marks("ours")]
    assert begun_and_done == ["begun", "done"] * 3


def test_a_message_is_lost_with_a_worker_that_dies_right_after_taking_it(workers: Workers) -> None:
    """Taking it and noting that are two commands. No setting helps, so ours rings again: below."""
    workers.start("forgetful")
    workers.ask("forgetful", "lost")
    assert workers.ended("forgetful") == 137
    assert not workers.marks("forgetful")
    redis = workers.cloud.redis()
    assert (redis.llen("forgetful"), redis.hlen("unacked")) == (0, 0)


def test_a_request_whose_message_was_lost_is_rung_again(cloud: Cloud) -> None:
    who = caller(cloud)
    [(_, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
    assert cloud.redis().llen("scheduler") == 1
    cloud.redis().delete("scheduler")
    cloud.start_control()
    cloud.start_host("n1")
    assert cloud.finished(action_id).state == "succeeded"


def test_the_plain_command_neither_gossips_nor_mingles_and_asks_for_one_list_a_queue(
    workers: Workers,
) -> None:
    redis = workers.cloud.redis()
    assert patterns(workers, "ours") == 1  # remote control only
    assert lists_asked_for(workers, "ours") == ["ours"]
    assert not redis.exists("_kombu.binding.celeryev")
    assert "mingle" not in workers.cloud.log("ours")
    workers.cloud.kill("ours")
    eventually(lambda: redis.execute_command("PUBSUB", "NUMPAT") == 0, 5)
    patterns(workers, "stock")
    eventually(lambda: redis.execute_command("PUBSUB", "NUMPAT") > 1, 10, "it gossips")
    assert len(lists_asked_for(workers, "stock")) == 4
    assert "mingle: " in workers.cloud.log("stock")


def patterns(workers: Workers, app: str) -> int:
    """How many broadcast patterns a new worker listens to."""
    workers.start(app)
    return int(workers.cloud.redis().execute_command("PUBSUB", "NUMPAT"))


def lists_asked_for(workers: Workers, app: str) -> list[str]:
    """The lists that the worker's next BRPOP names."""
    with workers.cloud.redis().monitor() as monitor:
        while True:
            command = monitor.next_command()["command"].split()
            if command[0] == "BRPOP" and command[1].startswith(app):
                return [word for word in command[1:-1] if word.startswith(app)]


def test_a_host_queue_works_on_after_redis_lost_its_data(workers: Workers) -> None:
    """Messages to a named exchange need bindings, which are data: those are lost without a word."""
    workers.start("ours")
    redis = workers.cloud.redis()
    with make_app().connection_for_write() as connection:
        with connection.SimpleQueue("bound") as named:
            named.put("before")
            assert named.get(timeout=2).payload == "before"
        redis.flushall()
        connection.Producer().publish("after", exchange="bound", routing_key="bound")
    assert redis.llen("bound") == 0
    workers.ask("ours", "after")
    workers.did("ours", "after done")
