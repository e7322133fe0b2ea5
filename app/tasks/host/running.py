"""Which tasks run or wait on this host: their cancel events, locks and progress."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from app.domain.message import Key
from app.tasks.board import Sighting


@dataclass
class Running:
    """One accepted, unfinished task."""

    key: Key
    server_id: str
    cancel: threading.Event = field(default_factory=threading.Event)
    percent: int = 0
    message: str = ""
    started: bool = False

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
                    other.cancel.set()
            self._tasks[key] = Running(key, server_id)
            return self._tasks[key]

    def leave(self, task: Running) -> None:
        """The task is done."""
        with self._lock:
            self._tasks.pop(task.key, None)

    @contextmanager
    def server(self, server_id: str, timeout: float) -> Iterator[bool]:
        """Hold the server's lock; yields False when it could not be had in `timeout` s."""
        with self._lock:
            lock = self._servers.setdefault(server_id, threading.Lock())
        held = lock.acquire(timeout=timeout)
        try:
            yield held
        finally:
            if held:
                lock.release()

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
