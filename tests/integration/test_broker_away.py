"""Requests are taken while the broker is away or hangs; RabbitMQ's own ways to lose things."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import amqp
import pytest

from app import broker
from app.publisher import publisher
from app.tasks import publish
from tests.asking import add_image, adopt, caller, create
from tests.cloud import Cloud, allowed, eventually, running
from tests.http_client import Client
from tests.rabbitmq import RabbitMQ, rabbitmq


@pytest.fixture(scope="module")
def node() -> Iterator[RabbitMQ]:
    """A RabbitMQ that tests kill and let hang."""
    with rabbitmq() as made:
        yield made


@pytest.fixture
def over_rabbitmq(
    node: RabbitMQ, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """A cloud whose broker is RabbitMQ; its own Redis keeps the results."""
    made = Cloud(tmp_path)
    results = f"redis://127.0.0.1:{made.redis_port}/0"
    made.settings |= {"broker_url": node.url, "result_url": results}
    with running(made):
        adopt(made, monkeypatch)
        yield made


def test_a_server_asked_for_without_redis_is_active_soon_after_it_is_back(cloud: Cloud) -> None:
    cloud.start_control()
    cloud.start_host("n1")
    cloud.start_web()
    cloud.hosts_up("n1", seconds=60)
    client = Client(f"http://127.0.0.1:{cloud.web_port}")
    image = add_image(cloud, caller(cloud).project_id)
    client.finished(client.create(image)[1])  # connections are made

    cloud.kill("redis")
    asked = [timed_create(client, image) for _ in range(3)]
    time.sleep(4)  # longer than workers' first pauses between their attempts
    cloud.start_redis()
    active(client, asked, within=6.0)
    assert max(seconds for _, seconds in asked) <= allowed(3.0)

    client.finished(client.create(image)[1])
    cloud.processes["redis"].send_signal(signal.SIGSTOP)
    asked = [timed_create(client, image) for _ in range(2)]
    cloud.processes["redis"].send_signal(signal.SIGCONT)
    active(client, asked, within=25.0)
    assert max(seconds for _, seconds in asked) <= allowed(4.0)


def timed_create(client: Client, image: str) -> tuple[str, float]:
    """A new server, and how long the answer 202 took."""
    begun = time.monotonic()
    server_id, _ = client.create(image)
    return server_id, time.monotonic() - begun


def active(client: Client, asked: list[tuple[str, float]], within: float) -> None:
    """All of them become ACTIVE."""
    for server_id, _ in asked:
        eventually(
            lambda server_id=server_id: client.server(server_id)["status"] == "ACTIVE",  # type: ignore[misc]
            within,
            f"{server_id} is active",
        )


def test_a_ring_over_a_rabbitmq_that_hangs_is_given_up_after_two_seconds(
    over_rabbitmq: Cloud, node: RabbitMQ
) -> None:
    who = caller(over_rabbitmq)
    image = add_image(over_rabbitmq, who.project_id)
    create(over_rabbitmq, who, image)
    assert broker.queue_length("scheduler") == 1
    node.pause()
    try:
        for _ in range(2):
            begun = time.monotonic()
            create(over_rabbitmq, who, image)
            assert time.monotonic() - begun < allowed(3)
        begun = time.monotonic()
        with pytest.raises(broker.AWAY):
            broker.queue_length("scheduler")
        assert time.monotonic() - begun < allowed(3)
    finally:
        node.go_on()
    publish.control(publisher(), "schedule", "a-request").apply_async()
    eventually(lambda: broker.queue_length("scheduler") >= 2, 5, "the next message arrives")
    assert broker.queue_length("nobody-made-this") == 0


def test_a_message_that_rabbitmq_confirmed_outlives_it(
    over_rabbitmq: Cloud, node: RabbitMQ
) -> None:
    publish.control(publisher(), "reconcile", "n1").apply_async()
    time.sleep(2)  # the node notes a new queue's name on disk a moment later
    publish.control(publisher(), "reconcile", "n2").apply_async()
    node.kill()
    with pytest.raises(broker.AWAY):
        broker.queue_length("conductor")
    node.start()
    eventually(lambda: broker.queue_length("conductor") == 2, 20, "both are there")
    with (
        amqp.Connection(f"127.0.0.1:{node.port}", "novella", node.password) as connection,
        pytest.raises(amqp.PreconditionFailed, match="current is the value 'quorum'"),
    ):
        connection.channel().queue_declare("conductor", durable=True, auto_delete=False)


@pytest.mark.full
def test_a_queue_that_rabbitmq_broke_when_it_was_killed_is_made_anew(
    over_rabbitmq: Cloud, node: RabbitMQ
) -> None:
    """Killed right after it made a queue, it knows the queue's name and has lost the rest."""
    queue_for_host = publisher().signature("novella.build", args=("x",), queue="host-n1")
    with suppress(*broker.AWAY):
        queue_for_host.apply_async()  # over a connection that the last test's outage has ended
    queue_for_host.apply_async()
    node.kill()
    node.start()
    over_rabbitmq.start_control()
    over_rabbitmq.start_host("n1")
    over_rabbitmq.hosts_up("n1", seconds=90)
    who = caller(over_rabbitmq)
    [(_, action_id)] = create(over_rabbitmq, who, add_image(over_rabbitmq, who.project_id))
    assert over_rabbitmq.finished(action_id, 120).state == "succeeded"
    assert "making it anew" in over_rabbitmq.log("host-n1")
