"""All of the database as it is at one moment, so that work in progress looks like no fault."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from sqlalchemy.orm import Session

from app.store import database

PIECE = 500


@contextmanager
def moment() -> Iterator[Session]:
    """A session whose every query sees the same commit. Raises Unavailable."""
    with database.reading() as session:
        if session.get_bind().dialect.name != "sqlite":  # whose readers have it anyway
            session.connection(execution_options={"isolation_level": "REPEATABLE READ"})
        yield session


def server_version(session: Session) -> tuple[str, tuple[int, ...]]:
    """The kind of database, and its version."""
    session.connection()
    dialect = session.get_bind().dialect
    return dialect.name, tuple(int(part) for part in dialect.server_version_info or ())


def pieces(ids: Iterable[str]) -> Iterator[list[str]]:
    """`ids` in pieces that a query takes."""
    ordered = sorted(set(ids))
    for start in range(0, len(ordered), PIECE):
        yield ordered[start : start + PIECE]
