"""Which tasks run or wait on this host: their cancel events, locks and progress."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.domain.message import Key
from app.errors import Cancelled
from app.tasks.board import Sighting

POLL_SECONDS = 0.2


@dataclass
class Running:
    """One accepted, unfinished task."""

    key: Key
    server_id: str
    cancel: threading.Event = field(default_factory=threading.Event)
    percent: int = 0
    message: str = ""
    started: bool = False
    cancelled_at: float | None = None

    def stop(self) -> None:
        """Ask it to end; it has only so long (see `RunningTasks.deaf`)."""
        self.cancelled_at = self.cancelled_at or time.monotonic()
        self.cancel.set()

    def report(self, percent: int, text: str) -> None:
        """Note how far it is, in percent, and with what; the next heartbeat tells."""
        self.percent, self.message = percent, text

    def sighting(self) -> Sighting:
        """What the heartbeat says of it."""
        return Sighting(self.key, self.percent, self.message, self.started)


class RunningTasks:
    """All of them, by key; one at a time works on a server, in the order of its fences."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tasks: dict[Key, Running] = {}
        self._servers: dict[str, threading.Lock] = {}

    def admit(self, key: Key, server_id: str) -> Running | None:
        """Enter a task and cancel the server's older ones; None when the same one is here."""
        with self._lock:
            if key in self._tasks:
                return None
            for other in self._tasks.values():
                if other.server_id == server_id and other.key.fence < key.fence:
                    other.stop()
            self._tasks[key] = Running(key, server_id)
            return self._tasks[key]

    def leave(self, task: Running) -> None:
        """The task is done."""
        with self._lock:
            self._tasks.pop(task.key, None)

    @contextmanager
    def server(self, task: Running, timeout: float) -> Iterator[bool]:
        """Hold the lock of the task's server; yields False when it was not had in `timeout` s.

        Raises Cancelled when the task is cancelled while it waits.
        """
        with self._lock:
            lock = self._servers.setdefault(task.server_id, threading.Lock())
        deadline = time.monotonic() + timeout
        while not (held := lock.acquire(timeout=POLL_SECONDS)) and time.monotonic() < deadline:
            if task.cancel.is_set():
                raise Cancelled("cancelled while waiting for the server's older task")
        try:
            yield held
        finally:
            if held:
                lock.release()

    def deaf(self, seconds: float) -> list[Running]:
        """Tasks that are still here `seconds` after they were cancelled."""
        limit = time.monotonic() - seconds
        with self._lock:
            tasks = list(self._tasks.values())
        return [one for one in tasks if one.cancelled_at is not None and one.cancelled_at < limit]

    def of_stages(self, stages: frozenset[str]) -> int:
        """How many tasks of these stages are here, waiting ones too."""
        with self._lock:
            return sum(task.key.stage in stages for task in self._tasks.values())

    def is_running(self, server_id: str) -> bool:
        """Whether a task for the server is here."""
        return server_id in self.servers()

    def servers(self) -> set[str]:
        """The servers that tasks are here for."""
        with self._lock:
            return {task.server_id for task in self._tasks.values()}

    def sightings(self) -> tuple[Sighting, ...]:
        """All of them, for the heartbeat."""
        with self._lock:
            return tuple(task.sighting() for task in self._tasks.values())
