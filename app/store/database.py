"""The engine, and the two ways to open a transaction. SQLite (WAL) or PostgreSQL, by URL."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from sqlalchemy import CursorResult, Delete, Engine, Update, create_engine, event, select
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from app.config import settings
from app.errors import Unavailable
from app.models import now

BUSY_SECONDS = 20


def make_engine(url: str) -> Engine:
    """An engine with the durability and the time limits that the protocol needs."""
    if url.startswith("sqlite"):
        engine = create_engine(
            url,
            connect_args={"timeout": BUSY_SECONDS},
            pool_size=20,
            max_overflow=200,
            pool_timeout=10,
            hide_parameters=True,
        )
        event.listen(engine, "connect", _sqlite_pragmas)
        event.listen(engine, "begin", _sqlite_begin)
        return engine
    return create_engine(
        url,
        pool_size=10,
        max_overflow=30,
        pool_timeout=10,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": 5,
            "options": "-c statement_timeout=20000 -c lock_timeout=10000"
            " -c idle_in_transaction_session_timeout=60000 -c synchronous_commit=on",
        },
    )


def _sqlite_pragmas(connection: Any, record: Any) -> None:
    # The driver's own transaction handling would begin late and deferred; ours is explicit.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _sqlite_begin(connection: Any) -> None:
    # A writer takes its lock at once: a lock upgrade in mid-transaction could only fail.
    reading = connection.get_execution_options().get("reading")
    connection.exec_driver_sql("BEGIN" if reading else "BEGIN IMMEDIATE")


@functools.cache
def engine() -> Engine:
    """The process's engine, for the configured database."""
    return make_engine(settings().database)


@functools.cache
def _reading_engine() -> Engine:
    return engine().execution_options(reading=True)


@contextmanager
def transaction() -> Iterator[Session]:
    """A session that writes: committed at the end of the block, rolled back on any error.

    Raises Unavailable when the database cannot be reached or stays locked.
    """
    with _translated(), Session(engine(), expire_on_commit=False) as session, session.begin():
        yield session


@contextmanager
def reading() -> Iterator[Session]:
    """A session that only reads, and never waits for a writer."""
    with _translated(), Session(_reading_engine(), expire_on_commit=False) as session:
        yield session


def clock(session: Session) -> float:
    """The database's time, read once for each transaction: for values that rows keep."""
    if "clock" not in session.info:
        session.info["clock"] = session.scalar(select(now()))
    return float(session.info["clock"])


def changed(session: Session, statement: Update | Delete) -> int:
    """Execute `statement`; how many rows it changed (a compare-and-set looks at this)."""
    return cast("CursorResult[Any]", session.execute(statement)).rowcount


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, PoolTimeout) as error:
        raise Unavailable("the database is away or overloaded; try again") from error
    except DBAPIError as error:
        if error.connection_invalidated:
            raise Unavailable("the database is away") from error
        raise
