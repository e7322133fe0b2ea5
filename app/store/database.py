"""The engine, and the two ways to open a transaction. SQLite (WAL) or PostgreSQL, by URL."""

from __future__ import annotations

import functools
import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import orjson
from sqlalchemy import CursorResult, Delete, Engine, Update, create_engine, event, select
from sqlalchemy.exc import (
    DBAPIError,
    IntegrityError,
    InvalidRequestError,
    OperationalError,
    SQLAlchemyError,
)
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session
from sqlalchemy.orm.exc import ObjectDeletedError, StaleDataError

from app.config import settings
from app.errors import Conflict, NovellaError, Unavailable
from app.models import now
from app.store.sqlite_writers import Turns, WriterConnection

logger = logging.getLogger(__name__)
BUSY_SECONDS = 20
POOL_SECONDS = 10
"""How long who wants a connection waits while all are in use."""
LIMITS = {
    "statement_timeout": 20_000,
    "lock_timeout": 10_000,
    "idle_in_transaction_session_timeout": 60_000,
}
"""PostgreSQL's, in milliseconds: nobody waits for a row, or keeps one, without end."""
_AGAIN = "two requests stood in each other's way; try again"
_FULL = "the database's disk is full: make room there, then try again"
_SAYS = {
    "40001": _AGAIN,
    "40P01": _AGAIN,
    "53100": _FULL,
    "53300": "the database has no connection left: raise its max_connections, or set "
    "database_connections lower",
    "55P03": "somebody else has locked a row for longer than 10 s; try again",
    "57014": "the database took longer than 20 s; try again",
    "57P03": "the database is starting or stopping; try again",
    "25006": "the database takes no writes (is it a standby?); try again",
}
"""What these errors of PostgreSQL mean, by SQLSTATE."""
_RACES = {
    "23503", "23505", "SQLITE_CONSTRAINT_FOREIGNKEY", "SQLITE_CONSTRAINT_PRIMARYKEY",
    "SQLITE_CONSTRAINT_UNIQUE",
}  # fmt: skip
"""Foreign and unique keys, as PostgreSQL and SQLite name their violation."""
_MET = "another request took or removed at the same moment what this one needs: look, and repeat"
_AWAY = "the database is away or overloaded; try again"
_UNKNOWN = (
    "the database went away while it committed: the outcome is unknown; repeat the request with "
    "the same Idempotency-Key"
)


def make_engine(url: str) -> Engine:
    """An engine with the durability and the time limits that the protocol needs."""
    if url.startswith("sqlite"):
        engine = create_engine(
            url,
            connect_args={"timeout": BUSY_SECONDS, "factory": WriterConnection},
            pool_size=20,
            max_overflow=200,
            pool_timeout=POOL_SECONDS,
            hide_parameters=True,
            json_deserializer=_json,
        )
        event.listen(engine, "connect", _sqlite_pragmas)
        event.listen(engine, "begin", Turns(BUSY_SECONDS).begin)
        return engine
    limits = " ".join(f"-c {name}={value}" for name, value in LIMITS.items())
    connections = settings().database_connections
    kept = min(connections, 10)
    return create_engine(
        url,
        pool_size=kept,
        max_overflow=connections - kept,
        pool_timeout=POOL_SECONDS,
        pool_pre_ping=True,
        hide_parameters=True,
        json_deserializer=_json,
        connect_args={
            "connect_timeout": 5,
            # A server that vanished without a word is noticed within 20 s.
            "keepalives_idle": 5,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
            "options": f"{limits} -c synchronous_commit=on",
        },
    )


def _json(text: str | bytes) -> Any:
    """A JSON column's value: lists of servers have five thousand of them."""
    try:
        return orjson.loads(text)
    except orjson.JSONDecodeError:
        return json.loads(text)  # it takes NaN, which may be there from before


def _sqlite_pragmas(connection: Any, record: Any) -> None:
    # The driver's own transaction handling would begin late and deferred; ours is explicit.
    connection.isolation_level = None
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


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

    Raises Unavailable when the database cannot be reached or stays locked; with the code
    `outcome_unknown` when it went away in mid-commit. Raises Conflict when another transaction
    took a name, or removed a row, that this one had seen free, or there.
    """
    with _translated(), Session(engine(), expire_on_commit=False) as session:
        session.begin()
        yield session
        session.flush()
        with _committing():
            session.commit()


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
    except SQLAlchemyError as error:
        told = told_of(error)
        if told is None:
            raise
        if isinstance(told, Conflict):
            logger.warning("two changes met: %s", getattr(error, "orig", error))
        raise told from error


def told_of(error: SQLAlchemyError) -> NovellaError | None:
    """What a caller is told of the database's error: Conflict for two changes that met,
    Unavailable for what may pass; None for one that is somebody's mistake."""
    if isinstance(error, PoolTimeout):
        return Unavailable(_AWAY)
    if isinstance(error, IntegrityError):
        met = _lost_race(error)
    elif isinstance(error, DBAPIError):
        return Unavailable(_words(error)) if _passes(error) else None
    else:
        met = _row_is_gone(error)
    return Conflict(_MET) if met else None


def _lost_race(error: IntegrityError) -> bool:
    """Whether what was free, or there, when this transaction looked no longer was so."""
    codes = (getattr(error.orig, name, None) for name in ("sqlstate", "sqlite_errorname"))
    return not _RACES.isdisjoint(codes)


def _row_is_gone(error: SQLAlchemyError) -> bool:
    """Whether a row was removed between its reading and its change, or its reading anew."""
    # What refresh raises has no class of its own.
    unread = isinstance(error, InvalidRequestError) and "Could not refresh instance" in str(error)
    return unread or isinstance(error, StaleDataError | ObjectDeletedError)


@contextmanager
def _committing() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        if not error.connection_invalidated:
            raise
        raise Unavailable(_UNKNOWN, code="outcome_unknown") from error


def _passes(error: DBAPIError) -> bool:
    """Whether the same may work later."""
    known = getattr(error.orig, "sqlstate", None) in _SAYS
    return isinstance(error, OperationalError) or error.connection_invalidated or known


def _words(error: DBAPIError) -> str:
    if "disk is full" in str(error.orig):
        return _FULL  # SQLite's words
    return _SAYS.get(getattr(error.orig, "sqlstate", None) or "", _AWAY)
