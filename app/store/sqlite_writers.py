"""Who writes next, where the database is SQLite.

SQLite lets in one writer of all, and lets the others sleep and look again, the longer the longer
they wait, up to 100 ms: with dozens of threads the lock lies idle, and who has waited long has the
least chance. Here the threads of one process wait for each other first, and are woken when it is
their turn; the one whose turn it is looks every millisecond, however long it has looked; and a
process that wrote several times in a row lets others look before it goes on.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

LOOK_MS = 2
"""For so long SQLite looks by itself, at first after 1 ms."""
IN_A_ROW = 16
ASIDE_SECONDS = 0.003


class Turns:
    """Whose turn it is to write, among the threads of this process that use one engine."""

    def __init__(self, seconds: float) -> None:
        """Who has not had its turn after so many seconds gives up, as SQLite's own wait does."""
        self._seconds = seconds
        self._renew()
        # A child of a fork has none of the threads that would give the turn back.
        os.register_at_fork(after_in_child=self._renew)

    def _renew(self) -> None:
        self.lock = threading.Lock()
        self._row = 0

    def begin(self, connection: Connection) -> None:
        """For the engine's event `begin`: begin to write when it is this one's turn, or to read.

        A writer takes SQLite's lock at once: an upgrade in mid-transaction could only fail. Raises
        OperationalError when the turn does not come.
        """
        if connection.get_execution_options().get("reading"):
            connection.exec_driver_sql("BEGIN")
            return
        held = connection.connection.dbapi_connection
        assert isinstance(held, WriterConnection)
        deadline = time.monotonic() + self._seconds
        if not self.lock.acquire(timeout=self._seconds):
            raise _locked(sqlite3.OperationalError("database is locked by this process"))
        held.turn = self.lock
        try:
            self._row += 1
            if self._row % IN_A_ROW == 0:
                time.sleep(ASIDE_SECONDS)
            self._let_in(held, deadline)
        except BaseException:
            held.give_back()
            raise

    def _let_in(self, held: WriterConnection, deadline: float) -> None:
        held.execute(f"PRAGMA busy_timeout={LOOK_MS}")
        try:
            while True:
                try:
                    held.execute("BEGIN IMMEDIATE")
                    return
                except sqlite3.OperationalError as error:
                    self._row = 0
                    busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
                    if not busy or time.monotonic() > deadline:
                        raise _locked(error) from error
        finally:
            held.execute(f"PRAGMA busy_timeout={int(1000 * self._seconds)}")


def _locked(error: sqlite3.OperationalError) -> OperationalError:
    return OperationalError("BEGIN IMMEDIATE", None, error)


class WriterConnection(sqlite3.Connection):
    """A connection that gives its turn back when what it wrote is committed, or is not to be."""

    turn: threading.Lock | None = None

    def commit(self) -> None:
        """Roll back what cannot be committed: SQLAlchemy would leave it open, and nobody write."""
        try:
            super().commit()
        except BaseException:
            self.rollback()
            raise
        self.give_back()

    def rollback(self) -> None:
        """End the turn, whatever becomes of the connection."""
        try:
            super().rollback()
        finally:
            self.give_back()

    def close(self) -> None:
        """End the turn, whatever becomes of the connection."""
        try:
            super().close()
        finally:
            self.give_back()

    def give_back(self) -> None:
        """Let the next one in; nothing when it is not this one's turn."""
        turn, self.turn = self.turn, None
        if turn is not None:
            turn.release()
