"""Child processes that end with this process, are cancellable and have a time limit.

A child left behind by a killed worker would go on writing with its lock free. The kernel's
"parent death signal" ends it, but fires when the *thread* that spawned it ends; so all children
are spawned by one thread that never does.
"""

from __future__ import annotations

import os
import queue
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

from app.errors import Cancelled, HostFault

POLL_SECONDS = 0.1
_MESSAGE_LIMIT = 500


class _Spawner(threading.Thread):
    """Starts processes on behalf of the others, for as long as this process lives."""

    def __init__(self) -> None:
        super().__init__(name="spawner", daemon=True)
        self.pid = os.getpid()
        self._wanted: queue.SimpleQueue[tuple[list[str], queue.SimpleQueue[object]]]
        self._wanted = queue.SimpleQueue()
        self.start()

    def spawn(self, argv: list[str]) -> subprocess.Popen[str]:
        answer: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._wanted.put((argv, answer))
        made = answer.get()
        if isinstance(made, OSError):
            raise made
        assert isinstance(made, subprocess.Popen)
        return made

    def run(self) -> None:
        while True:
            argv, answer = self._wanted.get()
            try:
                answer.put(
                    subprocess.Popen(
                        ["setpriv", "--pdeathsig", "KILL", "--", *argv],
                        stdin=subprocess.DEVNULL,
                        stdout=subprocess.PIPE,
                        stderr=subprocess.PIPE,
                        text=True,
                        errors="replace",
                        env={**os.environ, "LC_ALL": "C"},
                    )
                )
            except OSError as error:
                answer.put(error)


_spawner: _Spawner | None = None
_lock = threading.Lock()


def run(
    argv: list[str],
    timeout: float,
    cancel: threading.Event | None = None,
    tick: Callable[[], None] = lambda: None,
) -> str:
    """What `argv` prints. Its arguments may show up in errors: give it no secrets.

    `tick` is called every POLL_SECONDS while it runs.

    Raises HostFault when it fails ("disk_full" when that is why) or takes more than `timeout`
    seconds; Cancelled as soon as `cancel` is set.
    """
    name = Path(argv[0]).name
    process = _the_spawner().spawn(argv)
    deadline = time.monotonic() + timeout
    while True:
        try:
            out, err = process.communicate(timeout=POLL_SECONDS)
            break
        except subprocess.TimeoutExpired:
            tick()
            late = time.monotonic() > deadline
            if late or (cancel is not None and cancel.is_set()):
                process.kill()
                process.communicate()
                if late:
                    message = f"{name} took more than {timeout:.0f} s"
                    raise HostFault(message, code="too_slow") from None
                raise Cancelled(f"{name} was cancelled") from None
    if process.returncode != 0:
        code = "disk_full" if "No space left on device" in err else "command_failed"
        raise HostFault(f"{name} failed: {err.strip()[-_MESSAGE_LIMIT:]}", code=code)
    return out


def _the_spawner() -> _Spawner:
    global _spawner
    with _lock:
        if _spawner is None or _spawner.pid != os.getpid():
            _spawner = _Spawner()
        return _spawner
