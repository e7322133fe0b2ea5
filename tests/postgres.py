"""A real PostgreSQL for tests, in a directory of its own."""

from __future__ import annotations

import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.cloud import eventually, free_port

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin"))


@contextmanager
def postgresql() -> Iterator[str]:
    """Start a server, as its own user (it refuses root), and yield the URL of an empty database."""
    directory = Path(tempfile.mkdtemp(prefix="novella-pg-"))
    shutil.chown(directory, "postgres", "postgres")
    data, port, binaries = directory / "data", free_port(), BINARIES[-1]
    as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
    initdb = [str(binaries / "initdb"), "-D", str(data), "-A", "trust", "--no-sync", "-E", "UTF8"]
    subprocess.run([*as_postgres, *initdb], check=True, cwd="/", timeout=120, capture_output=True)
    options = ["-D", str(data), "-p", str(port), "-k", str(directory), "-h", "127.0.0.1"]
    server = subprocess.Popen(
        [*as_postgres, str(binaries / "postgres"), *options, "-c", "fsync=off"],
        cwd="/",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        url = f"postgresql://postgres@127.0.0.1:{port}/postgres"
        eventually(lambda: _answers(url), 30, "PostgreSQL answers")
        yield url.replace("postgresql://", "postgresql+psycopg://")
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)
        shutil.rmtree(directory)


def _answers(url: str) -> bool:
    try:
        with psycopg.connect(url, connect_timeout=2):
            return True
    except psycopg.OperationalError:
        return False


def fresh_database(url: str, name: str) -> str:
    """The URL of a new, empty database on the same server."""
    plain = url.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')
    return url.rsplit("/", 1)[0] + "/" + name
