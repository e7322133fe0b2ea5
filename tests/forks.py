"""Starts a cloud's Python processes in a fraction of the time: forks of one that has imported.

What Celery, SQLAlchemy, Flask and most of Novella's own modules take to import is paid once per
test process, not once per worker of each test's cloud. A child is otherwise as if started anew:
it begins in the same `__main__` with the arguments, environment, directory and log it is given,
imports whatever reads settings, and ends as any interpreter does.
"""

from __future__ import annotations

import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

CHECKOUT = Path(__file__).resolve().parents[1]
START_SECONDS = 60.0
REAP_SECONDS = 0.02
RUNNABLE = {"celery": "celery.__main__", "gunicorn": "gunicorn.__main__"}
PRELOADED = (
    "celery.bin.celery", "celery.apps.worker", "celery.concurrency.thread", "celery.app.amqp",
    "kombu.transport.redis", "celery.backends.redis", "psutil", "requests", "redis.client",
    "gunicorn.app.wsgiapp", "gunicorn.workers.gthread", "flask_restx", "jsonschema", "rich.console",
    "oslo_policy.policy", "prometheus_client", "cryptography.fernet", "argon2", "alembic",
    "sqlalchemy.dialects.sqlite", "sqlalchemy.dialects.postgresql", "psycopg", "numpy",
    "app.models", "app.store.actions", "app.store.servers", "app.store.idempotency",
    "app.scheduler.select", "app.scheduler.policy", "app.virt.loader", "app.virt.fake",
    "app.web.factory", "app.tasks.control.live_table",
)  # fmt: skip
"""Nothing that reads settings while it is imported: those are the child's."""
OTHER_RELEASE = "tests.integration.other_version"
"""It changes modules before others import them."""


@dataclass
class Forked:
    """One child, with those of `subprocess.Popen`'s methods that tests use."""

    args: list[str]
    pid: int = 0
    returncode: int | None = None
    _started: threading.Event = field(default_factory=threading.Event)
    _ended: threading.Event = field(default_factory=threading.Event)

    def poll(self) -> int | None:
        """How it ended: its exit code, or minus the signal; None while it runs."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end. Raises subprocess.TimeoutExpired."""
        if not self._ended.wait(timeout):
            raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Send it a signal, unless it has ended."""
        if self.returncode is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        """SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """SIGKILL."""
        self.send_signal(signal.SIGKILL)


class Forks:
    """The tests' end of the process that forks; it is started at the first use."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._children: dict[int, Forked] = {}
        self._server: subprocess.Popen[str] | None = None

    def start(self, argv: list[str], env: dict[str, str], cwd: Path, log: Path) -> Forked:
        """Start `python -m celery …` or `python -m gunicorn …`; its output is added to `log`."""
        child = Forked(argv)
        log.touch()  # there at once, as Popen's caller has it
        with self._lock:
            server = self._running()
            number = len(self._children)
            self._children[number] = child
            order = {"number": number, "argv": argv[2:], "env": env}
            assert server.stdin is not None
            print(json.dumps(order | {"cwd": str(cwd), "log": str(log)}), file=server.stdin)
            server.stdin.flush()
        if not child._started.wait(START_SECONDS):
            raise AssertionError(f"{argv} was not forked within {START_SECONDS} s")
        return child

    def _running(self) -> subprocess.Popen[str]:
        if self._server is None:
            clean = {k: v for k, v in os.environ.items() if not k.startswith("NOVELLA_")}
            self._server = subprocess.Popen(
                [sys.executable, "-m", "tests.forks"],
                env=clean | {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"},
                cwd=CHECKOUT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            threading.Thread(target=self._listen, args=(self._server,), daemon=True).start()
        return self._server

    def _listen(self, server: subprocess.Popen[str]) -> None:
        assert server.stdout is not None
        for line in server.stdout:
            event, number, value = line.split()
            child = self._children[int(number)]
            if event == "started":
                child.pid = int(value)
                child._started.set()
            else:
                child.returncode = int(value)
                child._ended.set()

    def close(self) -> None:
        """End it, and all that it has started."""
        if self._server is not None and self._server.stdin is not None:
            self._server.stdin.close()
            self._server.wait(20)


def is_forkable(argv: list[str]) -> bool:
    """Whether this is one of our own Python processes, started in the plain way."""
    ours = argv[:2] == [sys.executable, "-m"] and argv[2] in RUNNABLE
    return ours and OTHER_RELEASE not in argv


def _serve() -> dict[str, Any] | None:
    """Fork a child for each order; the order, in the child, and None at the end of input.

    In one thread: what another one held while this one forks would be held in the child for ever.
    """
    alive: dict[int, int] = {}
    rest = b""
    while True:
        ready, _, _ = select.select([0], [], [], REAP_SECONDS)
        block = os.read(0, 65536) if ready else b""
        if ready and not block:
            break
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            order: dict[str, Any] = json.loads(line)
            pid = os.fork()
            if pid == 0:
                return order
            alive[pid] = order["number"]
            print("started", order["number"], pid, flush=True)
        _bury(alive, os.WNOHANG)
    for pid in alive:
        os.kill(pid, signal.SIGKILL)
    while alive:
        _bury(alive, 0)
    return None


def _bury(alive: dict[int, int], flag: int) -> None:
    """Tell of children that have ended."""
    while alive:
        pid, status = os.waitpid(-1, flag)
        if pid == 0:
            return
        print("ended", alive.pop(pid), os.waitstatus_to_exitcode(status), flush=True)


def _become(order: dict[str, Any]) -> NoReturn:
    """Turn into what was ordered."""
    log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(null)
    os.environ.clear()
    os.environ.update(order["env"])
    os.chdir(order["cwd"])
    sys.path[0] = order["cwd"]  # as `python -m` has it
    module, *sys.argv[1:] = order["argv"]
    runpy.run_module(RUNNABLE[module], run_name="__main__", alter_sys=True)
    sys.exit(0)


if __name__ == "__main__":
    for name in PRELOADED:
        import_module(name)
    from oslo_policy import policy

    from app.config import settings
    from app.web.factory import _namespaces

    _namespaces()  # all routes
    policy.Rules.from_dict({"any": "role:any"})  # looks up which kinds of checks are installed
    assert not settings.cache_info().currsize, "a module read settings while it was imported"
    assert "app.celery" not in sys.modules, "a module made the Celery app while it was imported"
    if (wanted := _serve()) is not None:
        _become(wanted)
