"""The whole database as one file, taken while the cloud runs, and a database made of such a file.

SQLite by its online backup, PostgreSQL by its own tools of the same major version. Passwords
reach those by the environment, never by the command line.
"""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import (
    URL,
    Connection,
    and_,
    create_engine,
    func,
    inspect,
    make_url,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid, Unavailable
from app.models import Cloud, Image, now
from app.redaction import redact_text
from app.store.database import make_engine

TOOL_SECONDS = 6 * 3600.0
SQLITE, POSTGRESQL = "sqlite", "postgresql"


@dataclass(frozen=True)
class Snapshot:
    """What the dump holds: its schema's revision, the cloud, and the files of complete images."""

    kind: str
    revision: str
    cloud_id: str
    images: tuple[tuple[str, int], ...]


def kind_of(url: str) -> str:
    """SQLITE or POSTGRESQL. Raises Invalid for another database."""
    name = make_url(url).get_backend_name()
    if name not in (SQLITE, POSTGRESQL):
        raise Invalid(f"database_url: {name} is neither {SQLITE} nor {POSTGRESQL}")
    return name


def size_of(url: str) -> int:
    """How many bytes the database takes, and a dump of it at most."""
    if kind_of(url) == SQLITE:
        path = _sqlite_path(url)
        return sum(one.stat().st_size for one in path.parent.glob(f"{path.name}*"))
    with _postgres(url) as connection:
        return int(connection.scalar(text("SELECT pg_database_size(current_database())")) or 0)


def dump(url: str, path: Path) -> Snapshot:
    """Write the database as it is at one moment to `path`; others go on reading and writing.

    Raises Invalid when there is no cloud in it, or the tools are missing; Unavailable when it
    cannot be read.
    """
    if kind_of(url) == POSTGRESQL:
        return _dump_postgres(url, path)
    source = _sqlite_path(url)
    try:
        with (
            closing(sqlite3.connect(f"{source.as_uri()}?mode=rw", uri=True)) as found,
            closing(sqlite3.connect(path)) as copy,
        ):
            found.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
            (state,) = copy.execute("PRAGMA quick_check(1)").fetchone()
    except sqlite3.Error as error:
        raise Unavailable(f"database {source}: {error}") from error
    if state != "ok":
        raise Unavailable(f"database {source} is damaged: {state}")
    engine = make_engine(f"sqlite:///{path}").execution_options(reading=True)
    try:
        with engine.connect() as connection:
            return _snapshot(SQLITE, connection)
    finally:
        engine.dispose()


def load(path: Path, url: str) -> None:
    """Fill the empty PostgreSQL database `url` from the dump at `path`, wholly or not at all.

    Raises Conflict when it is not empty, Unavailable when it cannot be filled.
    """
    with _postgres(url) as connection:
        tables = inspect(connection).get_table_names()
        if tables:
            raise Conflict(f"the database {_shown(url)} is not empty: it has {tables[0]}")
        tool = _tool("pg_restore", _major(connection))
    argv = [tool, "--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges"]
    _run(make_url(url), [*argv, str(path)])


def forget_lost(url: str, image_ids: Sequence[str]) -> None:
    """Mark images deleted whose files were deleted while the backup was taken."""
    engine = make_engine(url)
    try:
        with Session(engine) as session, session.begin():
            session.execute(
                update(Image)
                .where(Image.id.in_(image_ids))
                .values(status="deleted", file_name=None, deleted_at=now())
            )
    finally:
        engine.dispose()


def _snapshot(kind: str, connection: Connection) -> Snapshot:
    try:
        revision = connection.scalar(text("SELECT version_num FROM alembic_version"))
        cloud_id = connection.scalar(select(Cloud.id))
        used = and_(Image.status.in_(("active", "deactivated")), Image.file_name.is_not(None))
        complete = select(Image.file_name, func.coalesce(Image.size, 0)).where(
            or_(Image.file_name == Image.id, used)
        )
        images = tuple((str(row[0]), int(row[1])) for row in connection.execute(complete))
    except SQLAlchemyError as error:
        raise Invalid("the database holds no cloud: start it with bin/up first") from error
    if not revision or not cloud_id:
        raise Invalid("the database holds no cloud: start it with bin/up first")
    return Snapshot(kind, str(revision), cloud_id, images)


def _dump_postgres(url: str, path: Path) -> Snapshot:
    with _postgres(url) as connection:
        # pg_dump sees exactly what this transaction sees.
        connection.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
        exported = connection.scalar(text("SELECT pg_export_snapshot()"))
        snapshot = _snapshot(POSTGRESQL, connection)
        tool = _tool("pg_dump", _major(connection))
        argv = [tool, "--format=custom", "--no-owner", "--no-privileges", f"--file={path}"]
        _run(make_url(url), [*argv, f"--snapshot={exported}", "--lock-wait-timeout=60s"])
    return snapshot


@contextmanager
def _postgres(url: str) -> Iterator[Connection]:
    engine = create_engine(url, hide_parameters=True, connect_args={"connect_timeout": 5})
    try:
        with engine.connect() as connection:
            connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
            connection.commit()
            yield connection
    except SQLAlchemyError as error:
        cause = redact_text(str(getattr(error, "orig", error)).strip().partition("\n")[0])
        raise Unavailable(f"database {_shown(url)}: {cause}") from error
    finally:
        engine.dispose()


def _major(connection: Connection) -> int:
    return int(connection.scalar(text("SHOW server_version_num")) or 0) // 10000


def _tool(name: str, major: int) -> str:
    """The tool of the server's own major version: another may read or write something else."""
    found = []
    for path in (f"/usr/lib/postgresql/{major}/bin/{name}", shutil.which(name)):
        if path is None or not os.access(path, os.X_OK):
            continue
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30)
        version = re.search(r"\b(\d+)[.\d]*", said.stdout)
        if version and int(version[1]) == major:
            return path
        found.append(f"{path} is of {version[1] if version else 'an unknown version'}")
    seen = f" ({'; '.join(found)})" if found else ""
    raise Invalid(f"{name} of PostgreSQL {major} is needed{seen}: install its client programs")


def _run(url: URL, argv: list[str]) -> None:
    from psycopg.conninfo import make_conninfo

    named = url.translate_connect_args(username="user", database="dbname")
    query = {name: str(value) for name, value in url.query.items()}
    # By environment: others on the machine can read command lines.
    password = query.pop("password", None) or named.pop("password", None)
    named.pop("password", None)
    where = make_conninfo("", **named, **query)
    environ = {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}
    argv = [*argv[:1], "--no-password", f"--dbname={where}", *argv[1:]]
    try:
        done = subprocess.run(
            argv,
            env=environ,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=TOOL_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(f"{argv[0]} did not end in {TOOL_SECONDS / 3600:.0f} hours") from error
    if done.returncode:
        said = (done.stderr.strip() or "it said nothing").splitlines()[0]
        raise Unavailable(f"{argv[0]} failed: {redact_text(said)}")


def _shown(url: str) -> str:
    return redact_text(make_url(url).render_as_string(hide_password=True))


def _sqlite_path(url: str) -> Path:
    name = make_url(url).database
    if not name or not Path(name).is_file():
        raise Unavailable(f"there is no database {name or 'in memory'}")
    return Path(name).absolute()
