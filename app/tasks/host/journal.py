"""The host's memory of what it was told and what came of it: one record for each server.

Written before the first effect and again before the outcome is sent. An empty journal is legal.
"""

from __future__ import annotations

import json
import sqlite3
import threading
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from app.domain.message import Key, Outcome, outcome

ACCEPTED, STARTED, DONE = "accepted", "started", "done"

_SCHEMA = """
CREATE TABLE IF NOT EXISTS records (
    server_id TEXT PRIMARY KEY, action_id TEXT NOT NULL, fence INTEGER NOT NULL,
    stage TEXT NOT NULL, direction TEXT NOT NULL, kind TEXT NOT NULL, state TEXT NOT NULL,
    starts INTEGER NOT NULL, outcome TEXT
);
CREATE TABLE IF NOT EXISTS notes (name TEXT PRIMARY KEY, value TEXT NOT NULL);
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
    """A small SQLite file; every write is on disk before the call returns."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._database = sqlite3.connect(
            path, timeout=10, check_same_thread=False, isolation_level=None
        )
        self._database.execute("PRAGMA journal_mode=WAL")
        self._database.execute("PRAGMA synchronous=FULL")
        self._database.executescript(_SCHEMA)

    def get(self, server_id: str) -> Record | None:
        """The server's record."""
        with self._lock:
            row = self._database.execute(
                "SELECT action_id, fence, stage, direction, kind, state, starts, outcome"
                " FROM records WHERE server_id = ?",
                (server_id,),
            ).fetchone()
        if row is None:
            return None
        action_id, fence, stage, direction, kind, state, starts, answer = row
        return Record(
            server_id,
            Key(action_id, fence, stage, direction),
            kind,
            state,
            starts,
            outcome(json.loads(answer)) if answer else None,
        )

    def put(self, record: Record) -> None:
        """Write the server's record, in place of the one before."""
        answer = json.dumps(asdict(record.outcome)) if record.outcome else None
        key = record.key
        with self._lock:
            self._database.execute(
                "INSERT OR REPLACE INTO records VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    record.server_id,
                    key.action_id,
                    key.fence,
                    key.stage,
                    key.direction,
                    record.kind,
                    record.state,
                    record.starts,
                    answer,
                ),
            )

    def start(self, record: Record) -> Record:
        """Count one more start of the record's effect."""
        started = replace(record, state=STARTED, starts=record.starts + 1)
        self.put(started)
        return started

    def finish(self, record: Record, result: Outcome) -> bool:
        """Keep the outcome, if the server's record still bears this key."""
        with self._lock:
            done = self._database.execute(
                "UPDATE records SET state = ?, outcome = ? WHERE server_id = ? AND action_id = ?"
                " AND fence = ? AND stage = ? AND direction = ?",
                (
                    DONE,
                    json.dumps(asdict(result)),
                    record.server_id,
                    record.key.action_id,
                    record.key.fence,
                    record.key.stage,
                    record.key.direction,
                ),
            )
        return done.rowcount == 1

    def fences(self) -> dict[str, int]:
        """Each server's highest known fence."""
        with self._lock:
            return dict(self._database.execute("SELECT server_id, fence FROM records"))

    def unfinished(self) -> set[str]:
        """Servers whose newest message has no outcome yet."""
        with self._lock:
            rows = self._database.execute("SELECT server_id FROM records WHERE outcome IS NULL")
            return {row[0] for row in rows}

    def note(self, name: str) -> str | None:
        """A remembered value, such as the last boot id."""
        with self._lock:
            row = self._database.execute(
                "SELECT value FROM notes WHERE name = ?", (name,)
            ).fetchone()
        return row[0] if row else None

    def set_note(self, name: str, value: str) -> None:
        """Remember a value."""
        with self._lock:
            self._database.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (name, value))

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._database.close()
