"""What a cloud stands on, to be killed and started again: Redis and PostgreSQL."""

from __future__ import annotations

import shutil
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import redis

from tests.cloud import eventually, free_port
from tests.postgres import BINARIES

SECONDS = 30.0


@dataclass
class Redis:
    """A Redis without a disk: killed, it comes back empty."""

    directory: Path
    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        argv = ["redis-server", "--port", str(self.port), "--bind", *self.addresses]
        argv += ["--protected-mode", "no", "--save", "", "--appendonly", "no"]
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(argv, cwd=self.directory, stdout=log, stderr=log)
        eventually(self.answers, SECONDS, "Redis answers")

    def client(self) -> redis.Redis:
        """A client with short time limits."""
        return redis.Redis(port=self.port, socket_timeout=2, socket_connect_timeout=1)

    def answers(self) -> bool:
        """Whether it answers now."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def signal(self, how: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(how)
        if how == signal.SIGKILL:
            self.process.wait(10)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)


@dataclass
class PostgreSQL:
    """A PostgreSQL in a directory of its own, run as its own user (it refuses root)."""

    directory: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What NOVELLA_DATABASE_URL takes."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def make(self) -> None:
        """Make the database cluster."""
        shutil.chown(self.directory, "postgres", "postgres")
        initdb = [str(BINARIES[-1] / "initdb"), "-D", str(self.directory / "data")]
        initdb += ["-A", "trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(
            [*_as_postgres(), *initdb], check=True, cwd="/", timeout=120, capture_output=True
        )

    def start(self) -> None:
        """Start it and wait until it answers."""
        options = ["-D", str(self.directory / "data"), "-p", str(self.port), "-h", "127.0.0.1"]
        options += ["-k", str(self.directory), "-c", "fsync=off", "-c", "max_connections=300"]
        with (self.directory.parent / "postgresql.log").open("ab") as log:
            self.process = subprocess.Popen(
                [*_as_postgres(), str(BINARIES[-1] / "postgres"), *options],
                cwd="/",
                stdout=log,
                stderr=log,
            )
        eventually(self._answers, SECONDS, "PostgreSQL answers")

    def stop(self) -> None:
        """End it at once, as its mode `immediate` does: without a word to its clients."""
        if self.process is not None:
            self.process.send_signal(signal.SIGQUIT)
            self.process.wait(30)
            self.process = None

    def _answers(self) -> bool:
        try:
            plain = self.url.replace("+psycopg", "")
            with psycopg.connect(plain, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False


def _as_postgres() -> list[str]:
    return ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
