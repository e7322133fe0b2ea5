"""Room on a host: how many effects of a class may run at once, so that a stop never waits.

Builds (rebuilds and rescues with them) are one class, copies of disks another: a copy and its
upload may take an hour, and no build waits for them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Cancelled
from app.tasks import workflow

BUILDS, COPIES = frozenset(workflow.BUILDS), frozenset(workflow.COPIES)
MAX_SLOW, MAX_COPIES = 40, 8
"""Builds and copies here, waiting ones too: the worker's other threads stay free for quick ones."""
POLL_SECONDS = 0.2


class Room:
    """A semaphore for each slow class; everything else passes at once."""

    def __init__(self, builds: int) -> None:
        self._builds = threading.Semaphore(builds)
        self._copies = threading.Semaphore(max(1, builds // 2))

    @contextmanager
    def of(self, stage: str, cancel: threading.Event) -> Iterator[None]:
        """Hold room for `stage`. Raises Cancelled when `cancel` is set while waiting for it."""
        room = self._copies if stage in COPIES else self._builds if stage in BUILDS else None
        if room is None:
            yield
            return
        while not room.acquire(timeout=POLL_SECONDS):
            if cancel.is_set():
                raise Cancelled("cancelled while waiting for room")
        try:
            yield
        finally:
            room.release()
