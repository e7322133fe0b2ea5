"""A worker that consumes nothing while its broker answers ends, for its supervisor to restart.

Whatever the cause (a main loop that hangs, a reconnect that left the queues unwatched), a restart
heals it, and only a thread can see it: the main loop is what may hang.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any

from celery import bootsteps

from app import logs
from app.broker import AWAY, Probe
from app.config import settings

log = logs.get(__name__)
LOOKS = 12
"""How often the watchdog looks within the time that makes a worker deaf."""


class Deafness:
    """The watchdog over one worker's consumer. Only Redis: RabbitMQ drops a deaf consumer."""

    def __init__(self, worker: Any, limit: float) -> None:
        self.worker, self.limit = worker, limit
        self.broker = Probe(settings().broker_url)
        self.pause = limit / LOOKS
        self.looked = self.since = time.monotonic()
        self._end = threading.Event()

    def start(self) -> None:
        """Watch in a thread."""
        threading.Thread(target=self._loop, name="deafness", daemon=True).start()

    def stop(self) -> None:
        """A worker that is told to end may be deaf."""
        self._end.set()

    def _loop(self) -> None:
        while not self._end.wait(self.pause):
            if (deaf := self.seconds()) > self.limit:
                log.error(
                    "this worker takes no messages though the broker answers: ending it for its"
                    " supervisor to restart",
                    seconds=round(deaf),
                )
                os._exit(70)

    def seconds(self) -> float:
        """For how long the worker has been deaf while it ran and its broker answered."""
        now = time.monotonic()
        if now - self.looked > 2 * self.pause:
            self.since = now  # this process stood still: so did its consumer
        self.looked = now
        listened = self.worker.consumer.listened_at
        if listened is None:
            return 0.0
        if now - max(self.since, listened) > self.limit / 4 and not self._broker_answers():
            self.since = time.monotonic()
        self.looked = time.monotonic()
        return self.looked - max(self.since, listened)

    def _broker_answers(self) -> bool:
        try:
            self.broker.ping()
        except AWAY as error:
            log.warning("no messages, for the broker does not answer", error=str(error))
            return False
        return True


class DeafnessStep(bootsteps.StartStopStep):
    """Starts the watchdog with the worker; after the pool, so that it ends before it."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Any, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self.deafness = Deafness(parent, settings().deaf_seconds)

    def start(self, parent: Any) -> None:
        """Start the thread."""
        self.deafness.start()

    def stop(self, parent: Any) -> None:
        """Let the thread end."""
        self.deafness.stop()
