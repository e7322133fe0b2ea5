"""Databases as they are after a cloud's first start: made once per test process, then copied."""

from __future__ import annotations

import atexit
import functools
import shutil
import sqlite3
import tempfile
import uuid
from contextlib import closing
from pathlib import Path

import psycopg
from argon2 import PasswordHasher
from sqlalchemy import make_url, select
from sqlalchemy.orm import Session

from app.models import User
from app.store import migrations, seed
from app.store.database import make_engine

PASSWORDS = {"admin": "admin-password", "novella": "novella-password"}
CIDR = "10.77.0.0/24"
_QUICK = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


@functools.cache
def quick_hash(password: str) -> str:
    """A password's hash that costs next to nothing to check: the parameters are in the hash."""
    return _QUICK.hash(password)


def started(url: str, cidr: str = CIDR, cloud_id: str | None = None) -> None:
    """Make the empty database at `url` what migrations and the first start would make of it.

    Only the ids of projects and users are those of the template, and users' hashes are quick
    ones. A cloud with an id of its own has a network of its own, as hosts see both.
    """
    there = make_url(url)
    if there.get_backend_name() == "sqlite":
        shutil.copyfile(_sqlite(cidr), str(there.database))
        if cloud_id is not None:
            _rename(str(there.database), cloud_id)
    elif cloud_id is not None or there.database == "postgres":  # a server of one test's own
        _make(url, cidr, cloud_id)
    else:
        _copy_postgresql(url, str(there.database), cidr)


def _rename(path: str, cloud_id: str) -> None:
    """Give the cloud its id, and its default network a new one."""
    network = str(uuid.uuid4())
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("UPDATE clouds SET id = ?", (cloud_id,))
        connection.execute("UPDATE networks SET id = ?", (network,))
        connection.execute("UPDATE subnets SET network_id = ?", (network,))


def sqlite_file() -> Path:
    """The template itself, to be copied and left as it is."""
    return _sqlite(CIDR)


@functools.cache
def directory() -> Path:
    """A place for templates, which ends with the process."""
    made = Path(tempfile.mkdtemp(prefix="novella-templates-"))
    atexit.register(shutil.rmtree, made, ignore_errors=True)
    return made


@functools.cache
def _sqlite(cidr: str) -> Path:
    path = directory() / f"{cidr.replace('/', '-')}.sqlite"
    _make(f"sqlite:///{path}", cidr)
    return path


def _copy_postgresql(url: str, name: str, cidr: str) -> None:
    server = url.rsplit("/", 1)[0]
    template = _postgresql(server, cidr)
    with psycopg.connect(plain(f"{server}/template1"), autocommit=True) as connection:
        connection.execute(f'DROP DATABASE "{name}"'.encode())
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())


@functools.cache
def _postgresql(server: str, cidr: str) -> str:
    name = f"template-{cidr.replace('/', '-')}"
    with psycopg.connect(plain(f"{server}/template1"), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    _make(f"{server}/{name}", cidr)
    return name


def _make(url: str, cidr: str, cloud_id: str | None = None) -> None:
    migrations.upgrade(url)
    engine = make_engine(url)
    with Session(engine) as session, session.begin():
        seed.first_start(session, network_cidr=cidr, passwords=PASSWORDS, cloud_id=cloud_id)
        for user in session.scalars(select(User)):
            user.password_hash = quick_hash(PASSWORDS[user.name])
    engine.dispose()


def plain(url: str) -> str:
    """The URL as psycopg itself takes it."""
    return url.replace("postgresql+psycopg://", "postgresql://")
