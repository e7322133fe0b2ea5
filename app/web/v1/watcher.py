"""One thread per process watches the tasks that somebody waits for, with one query for all.

Waiters sleep on a condition and hold no database connection, so hundreds of long waits cost
one small query every POLL_SECONDS.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from app import logs

POLL_SECONDS = 0.2
ERROR_SECONDS = 2.0

Look = Callable[[Sequence[str]], Mapping[str, "Sight"]]


@dataclass(frozen=True)
class Sight:
    """What was last seen of a task: its ETag, and whether it has ended."""

    etag: str
    finished: bool


class Watcher:
    """`look` reads what stands about some tasks; at most `room` may wait at once."""

    def __init__(self, look: Look, room: int) -> None:
        self._look = look
        self._room = room
        self._lock = threading.Lock()
        self._changed: dict[str, threading.Condition] = {}
        self._waiting: Counter[str] = Counter()
        self._seen: dict[str, tuple[float, Sight]] = {}
        self._running = False

    @contextmanager
    def interest(self, task_id: str) -> Iterator[bool]:
        """Have a task watched inside the block; False when too many wait already."""
        with self._lock:
            granted = self._waiting.total() < self._room
            if granted:
                self._waiting[task_id] += 1
                self._changed.setdefault(task_id, threading.Condition(self._lock))
                self._start()
        try:
            yield granted
        finally:
            if granted:
                self._release(task_id)

    def change(self, task_id: str, etag: str, until: float) -> bool:
        """Sleep until the task differs from `etag` or has ended; False at `until` (monotonic).

        Only inside `interest`. `etag` must have been read before the call: what was seen
        earlier than that does not count.
        """
        since = time.monotonic()
        with self._lock:
            while True:
                at, sight = self._seen.get(task_id, (0.0, None))
                if sight and at >= since and (sight.finished or sight.etag != etag):
                    return True
                left = until - time.monotonic()
                if left <= 0:
                    return False
                self._changed[task_id].wait(left)

    def _release(self, task_id: str) -> None:
        with self._lock:
            self._waiting[task_id] -= 1
            if self._waiting[task_id] <= 0:
                del self._waiting[task_id]
                del self._changed[task_id]
                self._seen.pop(task_id, None)

    def _start(self) -> None:
        # Made at the first wait, so in the process that serves it and not before a fork.
        if not self._running:
            self._running = True
            threading.Thread(target=self._watch, name="task-watcher", daemon=True).start()

    def _watch(self) -> None:
        while True:
            with self._lock:
                wanted = sorted(self._waiting)
                if not wanted:
                    self._running = False
                    return
            time.sleep(POLL_SECONDS if self._poll(wanted) else ERROR_SECONDS)

    def _poll(self, wanted: list[str]) -> bool:
        at = time.monotonic()
        try:
            seen = self._look(wanted)
        except Exception as error:  # noqa: BLE001  (the thread must outlive whatever it meets)
            logs.get(__name__).warning("cannot look at tasks", error=str(error))
            return False
        with self._lock:
            for task_id, sight in seen.items():
                if task_id not in self._waiting:
                    continue
                before = self._seen.get(task_id)
                self._seen[task_id] = (at, sight)
                # The first sight wakes too: the waiter compares it with what it has itself.
                if before is None or before[1] != sight or sight.finished:
                    self._changed[task_id].notify_all()
        return True
