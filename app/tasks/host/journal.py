"""The host's memory of what it was told and what came of it: one record for each server.

Written before the first effect and again before the outcome is sent. An empty journal is legal:
one that cannot be read is moved aside, and the guests' own marks stand in for it.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from app import logs
from app.domain.message import Key, Outcome, outcome
from app.errors import HostFault, Invalid

log = logs.get(__name__)
ACCEPTED, STARTED, DONE = "accepted", "started", "done"
EXIT_SOFTWARE = 70
_BROKEN = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
_PRIMARY = 0xFF
"""The part of SQLite's extended error codes that says what kind it is."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    server_id TEXT PRIMARY KEY, action_id TEXT NOT NULL, fence INTEGER NOT NULL,
    stage TEXT NOT NULL, direction TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
    starts INTEGER NOT NULL, outcome TEXT
);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS written (server_id TEXT PRIMARY KEY, at REAL NOT NULL);
INSERT OR IGNORE INTO written SELECT server_id, strftime('%s', 'now') FROM records;
"""


@dataclass(frozen=True)
class Record:
    """The newest message for a server; `starts` counts how often its effect was begun."""

    server_id: str
    key: Key
    kind: str
    state: str = ACCEPTED
    starts: int = 0
    outcome: Outcome | None = None


class Journal:
    """A small SQLite file; every write is on disk before the call returns.

    Any call raises HostFault "disk_full" or "host_io" when the file cannot be written or read.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = threading.Lock()
        try:
            self._database = _open(path)
        except sqlite3.DatabaseError as error:
            if not _is_broken(error):
                raise
            aside = _move_aside(path)
            log.error("the journal cannot be read: starting an empty one", kept_as=str(aside))
            self._database = _open(path)

    def get(self, server_id: str) -> Record | None:
        """The server's record."""
        rows = self._read(
            "SELECT action_id, fence, stage, direction, kind, state, starts, outcome"
            " FROM records WHERE server_id = ?",
            server_id,
        )
        if not rows:
            return None
        action_id, fence, stage, direction, kind, state, starts, answer = rows[0]
        try:
            told = outcome(json.loads(answer)) if answer else None
        except Invalid as error:
            # Of a newer worker that ran here before: the stage runs again, guarded by the guest.
            log.warning("a stored outcome cannot be read", reason=error.message)
            told, state, starts = None, STARTED, 0
        return Record(server_id, Key(action_id, fence, stage, direction), kind, state, starts, told)

    def put(self, record: Record) -> None:
        """Write the server's record, in place of the one before."""
        answer = json.dumps(asdict(record.outcome)) if record.outcome else None
        key = record.key
        self._write(
            "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            record.server_id,
            key.action_id,
            key.fence,
            key.stage,
            key.direction,
            record.kind,
            record.state,
            record.starts,
            answer,
        )

    def start(self, record: Record) -> Record:
        """Count one more start of the record's effect."""
        started = replace(record, state=STARTED, starts=record.starts + 1)
        self.put(started)
        return started

    def finish(self, record: Record, result: Outcome) -> bool:
        """Keep the outcome, if the server's record still bears this key."""
        key = record.key
        done = self._write(
            "UPDATE records SET state = ?, outcome = ? WHERE server_id = ? AND action_id = ?"
            " AND fence = ? AND stage = ? AND direction = ?",
            DONE,
            json.dumps(asdict(result)),
            record.server_id,
            key.action_id,
            key.fence,
            key.stage,
            key.direction,
        )
        if done and key.stage == "destroy":
            self._write(
                "INSERT OR REPLACE INTO written VALUES (?, ?)", record.server_id, time.time()
            )
        return done == 1

    def fences(self) -> dict[str, int]:
        """Each server's highest known fence."""
        return dict(self._read("SELECT server_id, fence FROM records"))

    def unfinished(self) -> set[str]:
        """Servers whose newest message has no outcome yet."""
        return {row[0] for row in self._read("SELECT server_id FROM records WHERE outcome IS NULL")}

    def tombstones(self, before: float) -> set[str]:
        """Servers whose newest record is a removal done before then (seconds since the epoch)."""
        return {row[0] for row in self._read(f"SELECT server_id {_TOMBSTONES}", DONE, before)}

    def forget(self, server_ids: Sequence[str], before: float) -> None:
        """Remove those of the servers' records that are still such tombstones."""
        for server_id in server_ids:
            self._write(
                f"DELETE FROM records WHERE server_id IN (SELECT server_id {_TOMBSTONES})"
                " AND server_id = ?",
                DONE,
                before,
                server_id,
            )
            self._write(
                "DELETE FROM written WHERE server_id = ? AND server_id NOT IN"
                " (SELECT server_id FROM records)",
                server_id,
            )

    def note(self, name: str) -> str | None:
        """A remembered value, such as the last boot id."""
        rows = self._read("SELECT value FROM notes WHERE name = ?", name)
        return str(rows[0][0]) if rows else None

    def set_note(self, name: str, value: str) -> None:
        """Remember a value."""
        self._write("INSERT OR REPLACE INTO notes VALUES (?, ?)", name, value)

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()

    def _read(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        try:
            with self._lock, _legible():
                return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            raise self._fault(error) from error

    def _write(self, statement: str, *values: Any) -> int:
        """The number of rows that it changed."""
        try:
            with self._lock, _legible():
                return self._database.execute(statement, values).rowcount
        except sqlite3.Error as error:
            raise self._fault(error) from error

    def _fault(self, error: sqlite3.Error) -> HostFault:
        """What to say of an error; a broken file ends the worker, whose next start mends it."""
        if _is_broken(error):
            log.error("the journal broke: ending this worker, the next start has an empty one")
            os._exit(EXIT_SOFTWARE)
        full = _kind(error) == sqlite3.SQLITE_FULL
        code = "disk_full" if full else "host_io"
        return HostFault(f"the host's journal {self.path.name}: {error}", code=code)


_TOMBSTONES = (
    "FROM records JOIN written USING (server_id)"
    " WHERE stage = 'destroy' AND state = ? AND written.at < ?"
)


def _open(path: Path) -> sqlite3.Connection:
    database = sqlite3.connect(path, timeout=10, check_same_thread=False, isolation_level=None)
    try:
        with _legible():
            database.execute("PRAGMA journal_mode=WAL")
            database.execute("PRAGMA synchronous=FULL")
            [(verdict,)] = database.execute("PRAGMA quick_check(1)").fetchall()
            if verdict != "ok":
                raise _corrupt(f"{path.name}: {verdict}")
            database.executescript(_SCHEMA)
    except sqlite3.Error:
        database.close()
        raise
    return database


@contextmanager
def _legible() -> Iterator[None]:
    """Call a file corrupt whose error quotes bytes that are no text; sqlite3 stumbles over it."""
    try:
        yield
    except UnicodeDecodeError as error:
        raise _corrupt("the file's schema is no text") from error


def _corrupt(reason: str) -> sqlite3.DatabaseError:
    broken = sqlite3.DatabaseError(reason)
    broken.sqlite_errorcode = sqlite3.SQLITE_CORRUPT
    return broken


def _move_aside(path: Path) -> Path:
    """Keep what cannot be read for whom it may concern, with the files that belong to it."""
    stamp = f"broken-{time.time():.0f}"
    for part in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        if part.exists():
            part.rename(f"{part}.{stamp}")
    return path.with_name(f"{path.name}.{stamp}")


def _is_broken(error: sqlite3.Error) -> bool:
    return _kind(error) in _BROKEN


def _kind(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & _PRIMARY
