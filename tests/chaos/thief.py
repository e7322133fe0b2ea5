"""A broker at its worst: messages that are lost for a while, then come twice and out of order."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from random import Random
from typing import Any

from kombu import Connection, Message, Producer, Queue

TRANSPORT = {"priority_steps": [0], "socket_timeout": 3.0, "socket_connect_timeout": 2.0}
LATE_SECONDS = 18.0
OFTEN = 2


class Thief:
    """Consumes queues beside their workers, and gives back what it got, late and twice."""

    def __init__(self, url: str, queues: list[str], random: Random) -> None:
        self._url, self._queues, self._random = url, queues, random
        self._stolen: list[tuple[str, Message]] = []

    def rob(self, seconds: float, ended: threading.Event) -> int:
        """Steal for `seconds`, give everything back; how many messages it were."""
        broken = (*self._connection().connection_errors, *self._connection().channel_errors)
        # A thief who is thrown out, for the broker is being struck, keeps what he has.
        with suppress(*broken), self._connection() as connection:
            self._steal(connection, time.monotonic() + seconds, ended)
        with self._connection() as connection:
            connection.ensure_connection(max_retries=10, interval_start=0.5, interval_max=2.0)
            self._give_back(connection, ended)
        return len(self._stolen)

    def _connection(self) -> Connection:
        redis = self._url.startswith("redis")
        return Connection(self._url, transport_options=TRANSPORT if redis else {})

    def _steal(self, connection: Connection, until: float, ended: threading.Event) -> None:
        queues = [Queue(name, no_declare=True) for name in self._queues]
        consumer = connection.Consumer(queues, callbacks=[self._take], auto_declare=False)
        with consumer:
            while time.monotonic() < until and not ended.is_set():
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.5)

    def _take(self, body: Any, message: Message) -> None:
        queue = message.delivery_info["routing_key"]
        self._stolen.append((queue, message))
        message.ack()

    def _give_back(self, connection: Connection, ended: threading.Event) -> None:
        """Each message twice, at moments of its own."""
        late = [
            (self._random.uniform(0.0, LATE_SECONDS), number)
            for number in range(len(self._stolen))
            for _ in range(OFTEN)
        ]
        begun = time.monotonic()
        producer = connection.Producer(auto_declare=False)
        for seconds, number in sorted(late):
            ended.wait(max(0.0, begun + seconds - time.monotonic()))
            # What cannot be given back because the broker is being struck is lost.
            with suppress(*connection.connection_errors, *connection.channel_errors):
                _publish(producer, *self._stolen[number])


def _publish(producer: Producer, queue: str, message: Message) -> None:
    kept = ("correlation_id", "reply_to", "delivery_mode")
    producer.publish(
        message.body,
        exchange="",
        routing_key=queue,
        headers=message.headers,
        content_type=message.content_type,
        content_encoding=message.content_encoding,
        **{name: message.properties[name] for name in kept if name in message.properties},
    )
