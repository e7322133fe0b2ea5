"""The declarative base, and the database's clock as seconds since the epoch."""

from __future__ import annotations

import uuid
from typing import Any

from sqlalchemy import JSON, BigInteger, Float, MetaData
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import DeclarativeBase
from sqlalchemy.sql.functions import FunctionElement

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """All tables. Times are floats: seconds since the epoch by the database's own clock."""

    metadata = MetaData(naming_convention=NAMES)
    type_annotation_map = {dict[str, Any]: JSON, list[str]: JSON, list[Any]: JSON, float: Float(53)}


class now(FunctionElement[float]):  # reads as the SQL function it is
    """The database's clock: seconds since the epoch with milliseconds, read anew per statement."""

    type = Float(53)
    inherit_cache = True


@compiles(now, "sqlite")
def _sqlite_now(element: Any, compiler: Any, **kw: Any) -> str:
    return "((julianday('now') - 2440587.5) * 86400.0)"


@compiles(now, "postgresql")
def _postgresql_now(element: Any, compiler: Any, **kw: Any) -> str:
    return "CAST(extract(epoch from clock_timestamp()) AS double precision)"


class change_mark(FunctionElement[int]):  # reads as the SQL function it is
    """A number for a changed row of `hosts` by which `changes_since` finds it.

    SQLite has one writer at a time, so one more than the greatest will do. PostgreSQL has many,
    and they end in another order than they began: there it is the writing transaction's own number,
    and a reader looks again at all that were not over when it looked last.
    """

    type = BigInteger()
    inherit_cache = True


@compiles(change_mark, "postgresql")
def _postgresql_mark(element: Any, compiler: Any, **kw: Any) -> str:
    return "CAST(CAST(pg_current_xact_id() AS text) AS bigint)"


class horizon(FunctionElement[int]):  # reads as the SQL function it is
    """The mark below which no row can appear any more, as this statement sees the database."""

    type = BigInteger()
    inherit_cache = True


@compiles(change_mark, "sqlite")
@compiles(horizon, "sqlite")
def _sqlite_next(element: Any, compiler: Any, **kw: Any) -> str:
    return "(SELECT coalesce(max(hosts.changed), 0) + 1 FROM hosts)"


@compiles(horizon, "postgresql")
def _postgresql_horizon(element: Any, compiler: Any, **kw: Any) -> str:
    return "CAST(CAST(pg_snapshot_xmin(pg_current_snapshot()) AS text) AS bigint)"


def new_id() -> str:
    """A random UUID as text."""
    return str(uuid.uuid4())
