"""A whole cloud for tests: real Redis, real worker processes, in a directory of its own."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any, TypeVar

import redis
from sqlalchemy import Engine, select
from sqlalchemy.orm import Session

from app.cli.local import ports
from app.models import Action, ActionEvent, Base, Host, Network, Server
from app.store.database import make_engine
from tests import templates
from tests.forks import Forked, Forks, is_forkable

T = TypeVar("T")
Process = subprocess.Popen[bytes] | Forked
FORKS = Forks()
CHECKOUT = Path(__file__).resolve().parents[1]
LANES = 8
FAKE = "app.virt.fake:FakeDriver"


def _own_ports() -> Iterator[int]:
    """The ports of this process's lane of the tests, round and round, from its own on."""
    every, lane = ports.lasting(), int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    mine = every[lane % LANES :: LANES]
    if mine:
        yield from islice(cycle(mine), os.getpid() % len(mine), None)
    while True:
        yield ports.free_port()


_PORTS = _own_ports()


def free_port() -> int:
    """A TCP port that nobody listens on now, and that no other test gets before it is used."""
    return next(port for port in islice(_PORTS, 1000) if ports.is_free("127.0.0.1", port))


def allowed(seconds: float) -> float:
    """A time limit for a quiet machine as it is for this one: up to four times that under load."""
    return seconds * min(4.0, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


def eventually(check: Callable[[], T], seconds: float = 20.0, what: str = "") -> T:
    """The first true answer of `check`, polled; fails the test after `allowed(seconds)`."""
    seconds = allowed(seconds)
    deadline = time.monotonic() + seconds
    while True:
        answer = check()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {seconds} s: {what or check}: last {answer!r}")
        time.sleep(0.05)


@dataclass
class Cloud:
    """The processes and places of one test's cloud."""

    directory: Path
    settings: dict[str, str] = field(default_factory=dict)
    processes: dict[str, Process] = field(default_factory=dict)
    redis_port: int = field(default_factory=free_port)
    web_port: int = field(default_factory=free_port)
    database_url: str = ""
    cloud_id: str = field(default_factory=lambda: str(uuid.uuid4()))

    def __post_init__(self) -> None:
        self.database_url = self.database_url or f"sqlite:///{self.directory / 'cloud.sqlite'}"
        self.engine: Engine = make_engine(self.database_url)

    def env(self, **more: str) -> dict[str, str]:
        """The environment of this cloud's processes; settings by their lower-case names."""
        settings = {
            "state_dir": str(self.directory),
            "database_url": self.database_url,
            "broker_url": f"redis://127.0.0.1:{self.redis_port}/0",
            "cloud_id": self.cloud_id,
            "port": str(self.web_port),
            "driver": FAKE,
            "beat_seconds": "1",
            "shutdown_seconds": "10",
        }
        settings |= self.settings | more
        named = {f"NOVELLA_{name.upper()}": value for name, value in settings.items()}
        clean = {k: v for k, v in os.environ.items() if not k.startswith("NOVELLA_")}
        return clean | named | {"PYTHONPATH": str(CHECKOUT), "PYTHONUNBUFFERED": "1"}

    def spawn(self, name: str, argv: list[str], **settings: str) -> Process:
        """Start a process; its output goes to <name>.log in the cloud's directory."""
        log_file, env = self.directory / f"{name}.log", self.env(**settings)
        if is_forkable(argv):
            self.processes[name] = FORKS.start(argv, env, self.directory, log_file)
            return self.processes[name]
        with log_file.open("ab") as log:
            process = subprocess.Popen(argv, env=env, cwd=self.directory, stdout=log, stderr=log)
        self.processes[name] = process
        return process

    def prepare(self) -> None:
        """Make the database and its first rows."""
        templates.started(self.database_url, "10.77.0.0/20", self.cloud_id)

    def start_redis(self) -> None:
        """Start Redis and wait until it answers."""
        self.spawn(
            "redis",
            ["redis-server", "--port", str(self.redis_port), "--bind", "127.0.0.1"]
            + ["--save", "", "--appendonly", "no"],
        )
        eventually(self._redis_answers, 10, "Redis answers")

    def _redis_answers(self) -> bool:
        try:
            return bool(self.redis().ping())
        except redis.ConnectionError:
            return False

    def redis(self) -> redis.Redis:
        """A client of the cloud's Redis."""
        return redis.Redis(port=self.redis_port, decode_responses=True, socket_timeout=5)

    def start_control(self, name: str = "control", **settings: str) -> None:
        """Start a scheduler worker."""
        self.spawn(name, self._worker("scheduler,conductor"), **settings)

    def start_host(self, host: str, **settings: str) -> None:
        """Start a hypervisor's worker (the fake driver unless the settings say otherwise)."""
        self.spawn(f"host-{host}", self._worker(f"host-{host}"), **settings)

    @staticmethod
    def _worker(queues: str) -> list[str]:
        return [sys.executable, "-m", "celery", "-A", "app", "worker", "-Q", queues]

    def start_web(self) -> None:
        """Start gunicorn and wait until it answers."""
        self.spawn(
            "web",
            [sys.executable, "-m", "gunicorn", "-c", "python:app.web.gunicorn"]
            + ["app.web.wsgi:application"],
        )
        eventually(lambda: _listens(self.web_port), 20, "web listens")

    def kill(self, name: str, how: int = signal.SIGKILL) -> None:
        """End one process, by default as hard as can be."""
        process = self.processes.pop(name)
        process.send_signal(how)
        process.wait(30)
        if name == "web":
            # Its workers notice, and hold the port until then: who listens next must be the next.
            eventually(lambda: not _listens(self.web_port), 20, "the port is free")

    def stop(self) -> None:
        """End everything that was started."""
        for process in self.processes.values():
            process.send_signal(signal.SIGCONT)
            process.kill()
        for process in self.processes.values():
            process.wait(10)
        self.engine.dispose()

    def log(self, name: str) -> str:
        """What a process has logged."""
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def hosts_up(self, *names: str, seconds: float = 30.0) -> None:
        """Wait until these hosts take servers."""
        wanted = set(names)
        eventually(
            lambda: wanted <= set(self.scalars(select(Host.name).where(Host.state == "up"))),
            seconds,
            f"hosts {sorted(wanted)} are up",
        )

    def scalars(self, statement: Any) -> list[Any]:
        """Read one column, without SQLite's lock: what is polled must not keep writers waiting."""
        with Session(self.engine.execution_options(reading=True)) as session:
            return list(session.scalars(statement))

    def server(self, server_id: str) -> Server:
        """A server's row."""
        return self.scalars(select(Server).where(Server.id == server_id))[0]  # type: ignore[no-any-return]

    def action(self, action_id: str) -> Action:
        """An action's row."""
        return self.scalars(select(Action).where(Action.id == action_id))[0]  # type: ignore[no-any-return]

    def events(self, action_id: str) -> list[tuple[str, str, str | None]]:
        """An action's stages: (stage, direction, result)."""
        rows = self.scalars(
            select(ActionEvent).where(ActionEvent.action_id == action_id).order_by(ActionEvent.id)
        )
        return [(row.stage, row.direction, row.result) for row in rows]

    def finished(self, action_id: str, seconds: float = 30.0) -> Action:
        """Wait for the action's end."""
        eventually(
            lambda: self.action(action_id).finished_at,
            seconds,
            f"action {action_id} ends",
        )
        return self.action(action_id)

    def default_network(self) -> str:
        """The default network's id."""
        return str(self.scalars(select(Network.id).where(Network.is_default))[0])

    def dump(self, *leave_out: str) -> dict[str, list[dict[str, Any]]]:
        """Every table's rows, for comparing before and after; times and counters left out."""
        skip = {"next_ring_at", "rings", "last_seen", "generation", "generation_session"}
        skip |= {"revision", "updated_at", "changed", *leave_out}
        found: dict[str, list[dict[str, Any]]] = {}
        with self.engine.connect() as connection:
            for table in Base.metadata.sorted_tables:
                rows = connection.execute(table.select()).mappings()
                found[table.name] = sorted(
                    ({k: v for k, v in row.items() if k not in skip} for row in rows), key=str
                )
        return found


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def running(cloud: Cloud) -> Iterator[Cloud]:
    """The cloud with its database and Redis; whatever else is started ends with the block."""
    try:
        cloud.prepare()
        cloud.start_redis()
        yield cloud
    finally:
        cloud.stop()
