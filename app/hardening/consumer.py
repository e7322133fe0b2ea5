"""The worker's consumer: comes back soon after its broker, and notes when it last listened."""

from __future__ import annotations

import functools
import time
from typing import Any

from celery.worker.consumer import Consumer as CeleryConsumer

RECONNECT_SECONDS = 3
"""Celery's own pause between two tries grows to 30 s, by which each of them could be late."""
NOTE_SECONDS = 1.0


class Consumer(CeleryConsumer):
    """Celery's consumer; `listened_at` (monotonic) is None before it first enters its loop."""

    listened_at: float | None = None

    def ensure_connected(self, conn: Any) -> Any:
        """Connect, however long it takes; at most RECONNECT_SECONDS between two tries."""
        conn.ensure_connection = functools.partial(
            conn.ensure_connection,
            interval_start=1,
            interval_step=1,
            interval_max=RECONNECT_SECONDS,
        )
        return super().ensure_connected(conn)

    def register_with_event_loop(self, hub: Any) -> None:
        """Also note, as long as this loop turns, whether it listens."""
        super().register_with_event_loop(hub)
        if self.connection.transport.driver_type != "redis":
            return
        if self.listened_at is None:
            self.listened_at = time.monotonic()
        hub.call_repeatedly(NOTE_SECONDS, self._note)

    def _note(self) -> None:
        """A healthy consumer asks for messages anew each second, unless it has no room for any."""
        if self.task_consumer is None:
            return
        channel = self.task_consumer.channel
        if not channel.active_queues or not channel.qos.can_consume():
            self.listened_at = time.monotonic()
        else:
            self.listened_at = max(self.listened_at or 0.0, channel._brpop_sent_at or 0.0)
