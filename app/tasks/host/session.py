"""A host's session: which messages it may still trust."""

from __future__ import annotations

import threading
import time
import uuid


def boottime() -> float:
    """Seconds since boot, suspended time included: it cannot be set, and never stands still."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Session:
    """New at start, and whenever the last heartbeat that got through is older than `limit` s.

    A host that was cut off so long may have been declared down, and its servers moved: what is
    still in its old queue must not run.
    """

    def __init__(self, limit: float) -> None:
        self._limit = limit
        self._lock = threading.Lock()
        self._id = str(uuid.uuid4())
        self._last_beat = boottime()

    def current(self) -> str:
        """The session's id; a new one when the last beat is too old, checked on every call."""
        with self._lock:
            if boottime() - self._last_beat > self._limit:
                self._id = str(uuid.uuid4())
                self._last_beat = boottime()
            return self._id

    def beat_got_through(self, session: str) -> None:
        """A heartbeat that bore `session` was stored."""
        with self._lock:
            if session == self._id:
                self._last_beat = boottime()
