"""Starts workers in a fifth of a second: a process that has imported all of Novella, and forks.

A worker that it starts is the real one, a process of its own that begins in Celery's `main`; only
the second of importing is spared. One zygote serves one role, for the role's modules hook into
the worker. `python -m tests.zygote MODULE...` reads lines `name<TAB>queues` and answers
`started name pid`; when a worker ends it says `ended name status`.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys
import threading
from importlib import import_module

from tests.cloud import Cloud, eventually

POLL_SECONDS = 0.02
PRELOADED = ("celery.bin.celery", "celery.apps.worker", "celery.concurrency.thread")
PRELOADED += ("kombu.transport.redis", "celery.backends.redis")


class Zygote:
    """The tests' end of one."""

    def __init__(self, cloud: Cloud, *modules: str, **settings: str) -> None:
        with (cloud.directory / "zygote.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.zygote", *modules],
                env=cloud.env(**settings),
                cwd=cloud.directory,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self.pids: dict[str, int] = {}
        self._statuses: dict[str, list[int]] = {}
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, name: str, queues: str) -> None:
        """Start a worker of these queues; its output goes to <name>.log."""
        self.pids.pop(name, None)
        assert self._process.stdin is not None
        print(name, queues, sep="\t", file=self._process.stdin, flush=True)
        eventually(lambda: name in self.pids, 60, f"{name} starts")

    def deaths(self, name: str) -> list[int]:
        """How the workers of that name ended: exit codes, or minus the signal."""
        return list(self._statuses.get(name, []))

    def kill(self, name: str) -> None:
        """kill -9, and wait for the end."""
        count = len(self.deaths(name))
        os.kill(self.pids[name], 9)
        eventually(lambda: len(self.deaths(name)) > count, 10, f"{name} ends")

    def close(self) -> None:
        """End it, and its workers with it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(20)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            event, name, number = line.split()
            if event == "started":
                self.pids[name] = int(number)
            else:
                self._statuses.setdefault(name, []).append(int(number))


def _serve() -> None:
    """Fork a worker for each line read; kill them all at the end of input.

    In one thread: what another one held while this one forks would be held in the worker for ever.
    """
    alive: dict[int, str] = {}
    rest = b""
    while True:
        ready, _, _ = select.select([0], [], [], POLL_SECONDS)
        block = os.read(0, 4096) if ready else b""
        if ready and not block:
            break
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            name, queues = line.decode().split("\t")
            pid = os.fork()
            if pid == 0:
                _become(name, queues)
            alive[pid] = name
            print("started", name, pid, flush=True)
        _bury(alive, os.WNOHANG)
    for pid in alive:
        os.kill(pid, 9)
    while alive:
        _bury(alive, 0)


def _bury(alive: dict[int, str], flag: int) -> None:
    """Tell of workers that have ended."""
    while alive:
        pid, status = os.waitpid(-1, flag)
        if pid == 0:
            return
        print("ended", alive.pop(pid), os.waitstatus_to_exitcode(status), flush=True)


def _become(name: str, queues: str) -> None:
    """Turn into a worker; never returns."""
    log = os.open(f"{name}.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    null = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((null, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    sys.argv = ["celery", "-A", "app", "worker", "-Q", queues]
    status = 1
    try:
        import_module("celery.__main__").main()
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    finally:
        os._exit(status)


if __name__ == "__main__":
    for module in ("app.celery", *PRELOADED, *sys.argv[1:]):
        import_module(module)
    _serve()
