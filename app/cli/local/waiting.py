"""Waiting for a part of the cloud: always with a limit, always saying for what."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.cli.local.supervisor import Process, Supervisor, tail
from app.cli.output import console
from app.errors import Conflict, Unavailable

Missing = Callable[[], str | None]
"""Says what is still missing; None when all is well."""

STABLE_SECONDS = 5.0
FAILING_SECONDS = 12.0
FAILING_STARTS = 4
LOCK_SECONDS = 300.0
_POLL = 0.2


def until(
    what: str, missing: Missing, seconds: float, supervisor: Supervisor | None = None
) -> None:
    """Wait until nothing is missing, showing `what` and what is.

    Raises Unavailable after `seconds`, or sooner when a process of `supervisor` keeps failing;
    the message has the end of that process's log.
    """
    began = time.monotonic()
    failures = _Failures(supervisor)
    if missing() is None:
        return
    with _shown(what) as show:
        while (lack := missing()) is not None:
            show(f"{what}: {lack}")
            if (failed := failures.look()) is not None:
                raise Unavailable(f"{what}: {_why(failed)}")
            if time.monotonic() - began > seconds:
                raise Unavailable(f"{what}: still {lack} after {seconds:.0f} s")
            time.sleep(_POLL)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold `path` alone; waits for another holder. Raises Conflict after LOCK_SECONDS."""
    with path.open("a") as file:
        deadline = time.monotonic() + LOCK_SECONDS
        told = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as error:
                if time.monotonic() > deadline:
                    raise Conflict(f"another bin/up or bin/down holds {path}") from error
                if not told:
                    console().print("waiting for another bin/up or bin/down to finish")
                    told = True
                time.sleep(_POLL)
        yield


class _Failures:
    """Notices a process that is restarted again and again."""

    def __init__(self, supervisor: Supervisor | None) -> None:
        self._supervisor = supervisor
        self._since: dict[str, float] = {}
        self._pids: dict[str, set[int]] = {}
        self._next = 0.0

    def look(self) -> Process | None:
        """The process that was started too often, or not for FAILING_SECONDS, if any."""
        now = time.monotonic()
        if self._supervisor is None or now < self._next:
            return None
        self._next = now + 1.0
        for process in self._supervisor.processes():
            pids = self._pids.setdefault(process.name, set())
            pids |= {process.pid} - {0}
            if len(pids) > FAILING_STARTS:
                return process
            if process.state in ("BACKOFF", "FATAL", "EXITED"):
                since = self._since.setdefault(process.name, now)
                if now - since > FAILING_SECONDS:
                    return process
            elif process.state == "RUNNING" and process.uptime > STABLE_SECONDS:
                self._since.pop(process.name, None)
        return None


def _why(process: Process) -> str:
    return f"{process.name} does not stay up; the end of {process.log}:\n{tail(process.log)}"


@contextmanager
def _shown(what: str) -> Iterator[Callable[[str], None]]:
    """A spinner whose text can be changed; without a terminal, one line."""
    if not console().is_terminal:
        console().print(f"waiting for {what}", markup=False)
        yield lambda text: None
        return
    with console().status(f"waiting for {what}") as status:
        yield lambda text: status.update(f"waiting for {text}")
