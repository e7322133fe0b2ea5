"""One writer at a time in each process, where the database is SQLite.

SQLite lets in one writer of all, and lets the others sleep and look again, up to 100 ms at a time
and in no order: with dozens of threads the lock lies idle, and some wait until they give up. Here
the threads of one process wait for each other first, and are woken when it is their turn.
"""

from __future__ import annotations

import os
import sqlite3
import threading

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError


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
        if not self.lock.acquire(timeout=self._seconds):
            locked = sqlite3.OperationalError("database is locked by this process")
            raise OperationalError("BEGIN IMMEDIATE", None, locked)
        held.turn = self.lock
        try:
            connection.exec_driver_sql("BEGIN IMMEDIATE")
        except BaseException:
            held.give_back()
            raise


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
