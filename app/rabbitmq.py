"""RabbitMQ under Celery: quorum queues, confirmed publishing, and a timeout that ends a connection.

Quorum queues are on disk before the broker confirms, and on most of its nodes where it has several.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from amqp.exceptions import InternalError, MessageNacked, RecoverableConnectionError
from celery.app.amqp import AMQP, Queues
from kombu import Queue
from kombu.transport import TRANSPORT_ALIASES, pyamqp

from app import logs
from app.topology import topology

log = logs.get(__name__)
FORGET_MS = 24 * 3600 * 1000
"""A host's queue that nobody has consumed for so long is gone; its worker makes it anew."""
HEARTBEAT_SECONDS = 10
"""A worker drops a broker that was silent for twice that."""
SILENT_TIMES = 2
"""A queue that did not answer so many consumers one after the other is taken for dead."""
_silent: Counter[str] = Counter()


class Silent(RecoverableConnectionError):
    """The broker took a question and has not answered it in time."""


class Channel(pyamqp.Channel):
    """A channel with quorum queues, on which a message is sent when the broker has confirmed it."""

    def queue_declare(self, queue: str = "", **kwargs: Any) -> Any:
        """Declare; what is to last is a quorum queue.

        Said here and not in the queue, where Celery would read it and make queues for delayed
        tasks, of which there are none.
        """
        passing = ("passive", "exclusive", "auto_delete")
        if kwargs.get("durable") and not any(kwargs.get(each) for each in passing):
            arguments = kwargs.get("arguments") or {}
            kwargs["arguments"] = {**arguments, "x-queue-type": "quorum"}
            if _silent[queue] >= SILENT_TIMES:
                log.warning("this queue is dead: making it anew; the sweep rings", queue=queue)
                self.queue_delete(queue)
                del _silent[queue]
        return super().queue_declare(queue, **kwargs)

    def basic_consume(self, queue: str = "", *args: Any, **kwargs: Any) -> Any:
        """Consume. Raises RecoverableConnectionError for a queue that does not take consumers.

        A node that was killed within a second of making a queue loses it in a way that it cannot
        mend itself: the queue is known, and answers nobody.
        """
        try:
            tag = super().basic_consume(queue, *args, **(kwargs | {"nowait": False}))
        except (Silent, InternalError, ConnectionResetError) as error:
            _silent[queue] += 1
            raise RecoverableConnectionError(f"the queue {queue} does not answer") from error
        _silent.pop(queue, None)
        return tag

    def basic_publish_confirm(self, *args: Any, **kwargs: Any) -> Any:
        """Publish; raises RecoverableConnectionError unless the broker has confirmed it."""
        try:
            return super().basic_publish_confirm(*args, **kwargs)
        except MessageNacked as error:
            raise RecoverableConnectionError("RabbitMQ refused the message") from error

    def wait(self, *args: Any, **kwargs: Any) -> Any:
        """Wait for an answer. Raises Silent, and lets the connection go, after read_timeout.

        An answer that came later would be taken for that of the next question.
        """
        connection = self.connection
        try:
            return super().wait(*args, **kwargs)
        except TimeoutError as error:
            if connection is not None:
                connection.collect()
            raise Silent("RabbitMQ did not answer in time") from error


class Connection(pyamqp.Connection):
    """A connection of such channels."""

    Channel = Channel

    def drain_events(self, timeout: float | None = None) -> None:
        """Take frames until one is an event. Raises TimeoutError after `timeout` seconds without
        a frame, or without one of those, after read_timeout without any but heartbeats."""
        if timeout is not None or not self.read_timeout:
            super().drain_events(timeout)
            return
        deadline = time.monotonic() + self.read_timeout
        while not self.blocking_read():
            if time.monotonic() > deadline:
                raise TimeoutError("nothing but heartbeats")


class Transport(pyamqp.Transport):
    """Kombu's, with our connections, and with QoS per consumer: quorum queues know no other."""

    Connection = Connection

    def qos_semantics_matches_spec(self, connection: Any) -> bool:
        """Whether QoS without the global flag is right: always."""
        return True


class SSLTransport(pyamqp.SSLTransport, Transport):
    """The same over TLS."""


class HostQueues(Queues):
    """Queues that are not configured are hosts'. They need no exchange: each is sent to by name."""

    def new_missing(self, name: str) -> Queue:
        """A host's queue."""
        return Queue(name, None, name, queue_arguments={"x-expires": FORGET_MS})


class NamedQueues(AMQP):
    """Celery's messaging, with our queues."""

    queues_cls = HostQueues


def control_queues() -> list[Queue]:
    """The queues of the scheduler workers."""
    names = {queue for queue in topology().tasks.values() if "{" not in queue}
    return [Queue(name, None, name) for name in sorted(names)]


def register() -> None:
    """Let amqp:// and amqps:// mean this transport, in failover too."""
    TRANSPORT_ALIASES.update({"amqp": f"{__name__}:Transport", "amqps": f"{__name__}:SSLTransport"})
