"""Room on a host: how many effects of a class may run at once, so that a stop never waits."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from app.errors import Cancelled
from app.tasks.workflow import SLOW as WORKFLOW_SLOW

SLOW = frozenset(WORKFLOW_SLOW)
MAX_SLOW = 48
"""Slow tasks here, waiting ones too: the worker's other threads stay free for quick ones."""
POLL_SECONDS = 0.2


class Room:
    """A semaphore for the slow class; everything else passes at once."""

    def __init__(self, builds: int) -> None:
        self._builds = threading.Semaphore(builds)

    @contextmanager
    def of(self, stage: str, cancel: threading.Event) -> Iterator[None]:
        """Hold room for `stage`. Raises Cancelled when `cancel` is set while waiting for it."""
        if stage not in SLOW:
            yield
            return
        while not self._builds.acquire(timeout=POLL_SECONDS):
            if cancel.is_set():
                raise Cancelled("cancelled while waiting for room")
        try:
            yield
        finally:
            self._builds.release()
