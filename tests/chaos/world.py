"""The cloud of a run: its processes, how they are broken, and a supervisor that restarts them."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from app.store.database import make_engine
from tests.chaos.fleet import FakeFleet, Fleet, RealFleet, settings_of, worker_argv
from tests.chaos.plan import Options
from tests.chaos.servers import Redis
from tests.cloud import Cloud, eventually
from tests.postgres import PostgreSQL, postgresql_server

START_SECONDS = 60.0
LOOK_SECONDS = 0.2
RESTART_SECONDS = 1.0


class World:
    """Everything that runs; a context that ends all of it."""

    def __init__(self, options: Options, directory: Path) -> None:
        self.options = options
        self.directory = directory
        self.exits: Counter[str] = Counter()
        self.before_host_start: Callable[[Iterable[str]], None] = lambda hosts: None
        self._stack = ExitStack()
        self._argv: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {}
        self._held: set[str] = set()
        self._lock = threading.RLock()
        self._ended = threading.Event()
        self.postgres: PostgreSQL | None = None
        self.rabbit: Any = None
        self.fleet: Fleet

    def __enter__(self) -> World:
        try:
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *args: object) -> None:
        self.close()

    def close(self) -> None:
        """End every process, then the hosts, then what all of it stood on."""
        self._ended.set()
        self._stack.close()

    def _build(self) -> None:
        address = f"10.{150 + os.getpid() % 50}.{os.getpid() // 50 % 250}.1"
        here = address if self.options.real else "127.0.0.1"
        self.cloud = Cloud(self.directory, settings=settings_of(self.options.real))
        self.fleet = self._fleet(address)
        self._stack.callback(self.fleet.close)
        self._stack.callback(self.cloud.stop)
        addresses = ("127.0.0.1", here) if self.options.real else ("127.0.0.1",)
        self.redis = Redis(self.directory, addresses)
        self._stack.callback(self.redis.stop)
        self.redis.start()
        url = f"redis://{here}:{self.redis.port}/0"
        self.cloud.settings |= {"broker_url": url, "result_url": url, "bind": here}
        self.cloud.settings |= {"chain": "1" if self.options.chain else "0"}
        if self.options.mutate:
            os.environ["CHAOS_MUTATE"] = self.options.mutate
            self._stack.callback(os.environ.pop, "CHAOS_MUTATE")
        self._start_broker()
        self._start_database()
        self.root = f"http://{here}:{self.cloud.web_port}"
        self.cloud.prepare()
        self._start_processes()

    def _fleet(self, address: str) -> Fleet:
        if self.options.real:
            return RealFleet(self.cloud, address, self.options.hosts)
        return FakeFleet(self.cloud, self.options.hosts, self.options.mutates("hosts"))

    def _start_broker(self) -> None:
        if self.options.broker != "rabbitmq":
            return
        from tests.rabbitmq import rabbitmq

        self.rabbit = self._stack.enter_context(rabbitmq())
        self.cloud.settings["broker_url"] = self.rabbit.url

    def _start_database(self) -> None:
        if self.options.database != "postgresql":
            return
        self.postgres = self._stack.enter_context(postgresql_server(connections=300))
        self.cloud.database_url = self.postgres.url
        self.cloud.engine = make_engine(self.postgres.url)

    def _start_processes(self) -> None:
        web = (worker_argv([], False)[0], "-m", "gunicorn", "-c", "python:app.web.gunicorn")
        self._argv["web"] = ((*web, "app.web.wsgi:application"), {"web_threads": "128"})
        control = worker_argv(["scheduler", "conductor"], self.options.mutates("scheduler"))
        for number in range(2):
            self._argv[f"scheduler-{number}"] = (control, {})
        for worker in self.fleet.workers:
            self._argv[worker.name] = (worker.argv, worker.settings)
        self._stack.callback(self._ended.set)
        with self._lock:
            for name in self._argv:
                self._start(name)
        threading.Thread(target=self._supervise, name="supervisor", daemon=True).start()
        self.await_web()
        self.cloud.hosts_up(*self.hosts, seconds=START_SECONDS)

    @property
    def hosts(self) -> list[str]:
        """All hypervisors."""
        return [host for worker in self.fleet.workers for host in worker.hosts]

    def await_web(self) -> None:
        """Wait until web takes connections."""
        address = self.root.split("/")[2].rpartition(":")[0]
        eventually(lambda: _listens(address, self.cloud.web_port), START_SECONDS, "web listens")

    def _start(self, name: str) -> None:
        argv, settings = self._argv[name]
        for worker in self.fleet.workers:
            if worker.name == name and name in self.cloud.processes:
                self.before_host_start(worker.hosts)
        self.cloud.spawn(name, list(argv), **settings)

    def _supervise(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            with self._lock:
                found = [
                    (name, process.returncode)
                    for name, process in self.cloud.processes.items()
                    if name not in self._held and process.poll() is not None
                ]
                self._held |= {name for name, _ in found}
            for name, status in found:
                self.exits[f"{name.rpartition('-')[0] or name} exited with {status}"] += 1
                threading.Timer(RESTART_SECONDS, self.release, (name,)).start()

    def kill(self, name: str) -> None:
        """End a program as hard as can be; it stays away until `release`."""
        with self._lock:
            self._held.add(name)
            process = self.cloud.processes[name]
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait(30)

    def release(self, name: str) -> None:
        """Start a program again that was killed or ended."""
        with self._lock:
            if not self._ended.is_set():
                self._start(name)
                self._held.discard(name)

    def signal(self, name: str, how: int) -> None:
        """Send a program a signal."""
        with self._lock:
            self.cloud.processes[name].send_signal(how)


def _listens(address: str, port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex((address, port)) == 0
