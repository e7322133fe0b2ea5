"""Whether the broker answers this process, asked seldom and briefly: for /readyz and /metrics.

Where results and heartbeats have a Redis of their own, both must answer.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass

from app.broker import AWAY, Probe, redis_client
from app.config import Settings

LOOK_SECONDS = 3.0
"""Between two looks."""
LIMIT_SECONDS = 0.5
"""To connect, and to answer."""


@dataclass(frozen=True)
class Broker:
    """`age` is how many seconds ago it last answered; None when it never did."""

    ok: bool
    age: float | None


class BrokerWatch:
    """One process's view of its broker. Who asks while another looks gets the last answer."""

    def __init__(self, settings: Settings) -> None:
        self.broker = Probe(settings.broker_url, LIMIT_SECONDS)
        self.board = redis_client(settings.results, LIMIT_SECONDS, LIMIT_SECONDS)
        self._apart = settings.results != settings.broker_url
        self._looking = threading.Lock()
        self._due = 0.0
        self._ok = False
        self._answered: float | None = None

    def look(self) -> Broker:
        """How the broker is, as of at most LOOK_SECONDS ago."""
        if time.monotonic() >= self._due and self._looking.acquire(blocking=False):
            try:
                self._ping()
            finally:
                self._looking.release()
        if self._answered is None:
            return Broker(self._ok, None)
        return Broker(self._ok, round(time.monotonic() - self._answered, 1))

    def _ping(self) -> None:
        try:
            self.broker.ping()
            if self._apart:
                self.board.ping()
            self._answered = time.monotonic()
            self._ok = True
        except AWAY:
            self._ok = False
        self._due = time.monotonic() + LOOK_SECONDS
