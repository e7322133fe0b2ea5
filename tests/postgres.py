"""A real PostgreSQL for tests, in a directory of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg

from tests.cloud import eventually, free_port
from tests.templates import plain

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
FAST, CRASH = signal.SIGINT, signal.SIGQUIT
"""How to end: sessions are broken off and all is written; or nothing is, as when power fails."""
AS_POSTGRES = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups")
"""PostgreSQL refuses root."""


@dataclass
class PostgreSQL:
    """One server; its data outlives its process."""

    directory: Path
    connections: int = 100
    port: int = field(default_factory=free_port)
    _server: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What NOVELLA_DATABASE_URL takes; a database that is empty at first."""
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        """Make the data directory."""
        shutil.chown(self.directory, "postgres", "postgres")
        options = ["-A", "trust", "--no-sync", "-E", "UTF8"]
        command = [str(BINARIES[-1] / "initdb"), "-D", str(self.directory / "data"), *options]
        whole = [*AS_POSTGRES, *command]
        subprocess.run(whole, check=True, cwd="/", timeout=120, capture_output=True)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        options = ["-p", str(self.port), "-k", str(self.directory), "-h", "127.0.0.1"]
        options += ["-c", "fsync=off", "-c", f"max_connections={self.connections}"]
        data = ["-D", str(self.directory / "data")]
        self._server = subprocess.Popen(
            [*AS_POSTGRES, str(BINARIES[-1] / "postgres"), *data, *options],
            cwd="/",
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        eventually(self._answers, 30, "PostgreSQL answers")

    def stop(self, how: int = FAST) -> None:
        """End the server; its data stays."""
        if self._server is not None:
            self._server.send_signal(how)
            self._server.wait(30)
            self._server = None

    def restart(self, how: int = FAST) -> None:
        """End the server and start it again at once."""
        self.stop(how)
        self.start()

    def _answers(self) -> bool:
        try:
            with psycopg.connect(plain(self.url), connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False


@contextmanager
def postgresql_server(connections: int = 100) -> Iterator[PostgreSQL]:
    """A server of the block's own, as an object that can be restarted; it takes so many."""
    directory = Path(tempfile.mkdtemp(prefix="novella-pg-"))
    server = PostgreSQL(directory, connections)
    try:
        server.create()
        server.start()
        yield server
    finally:
        server.stop()
        shutil.rmtree(directory)


@contextmanager
def postgresql() -> Iterator[str]:
    """Start a server and yield the URL of an empty database."""
    with postgresql_server() as server:
        yield server.url


def fresh_database(url: str, name: str) -> str:
    """The URL of a new, empty database on the same server."""
    with psycopg.connect(plain(url), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return url.rsplit("/", 1)[0] + "/" + name
