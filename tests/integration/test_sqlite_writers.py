"""Threads of one process that write to SQLite: one at a time, and all in the end."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import Engine, create_engine, event, text
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.orm import Session

from app.store import database
from app.store.sqlite_writers import Turns, WriterConnection
from tests.cloud import eventually


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """The product's engine, on a database with one table."""
    made = database.make_engine(f"sqlite:///{tmp_path}/db")
    with made.begin() as connection:
        connection.execute(text("CREATE TABLE notes (note TEXT UNIQUE)"))
    yield made
    made.dispose()


def note(engine: Engine, what: str) -> None:
    with Session(engine) as session, session.begin():
        session.execute(text("INSERT INTO notes VALUES (:what)"), {"what": what})


def count(engine: Engine) -> int:
    with Session(engine.execution_options(reading=True)) as session:
        return int(session.execute(text("SELECT count(*) FROM notes")).scalar_one())


def test_what_forty_threads_write_is_all_there(engine: Engine) -> None:
    with ThreadPoolExecutor(40) as pool:
        list(pool.map(lambda number: note(engine, str(number)), range(400)))
    assert count(engine) == 400


def test_readers_do_not_wait_for_a_writer_and_see_nothing_of_it(engine: Engine) -> None:
    with Session(engine) as session, session.begin():
        session.execute(text("INSERT INTO notes VALUES ('mine')"))
        assert count(engine) == 0
    assert count(engine) == 1


def test_a_failed_statement_and_a_failed_block_give_the_turn_back(engine: Engine) -> None:
    note(engine, "there")
    for _ in range(2):
        with pytest.raises(IntegrityError, match="UNIQUE"):
            note(engine, "there")
        session = Session(engine)
        session.execute(text("INSERT INTO notes VALUES ('never')"))
        session.rollback()
    connection = engine.connect()
    connection.execute(text("INSERT INTO notes VALUES ('left open')"))
    connection.close()
    note(engine, "after them")
    assert count(engine) == 2


def test_a_commit_that_fails_is_rolled_back_and_gives_the_turn_back(engine: Engine) -> None:
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE parents (id INTEGER PRIMARY KEY)"))
        reference = "REFERENCES parents(id) DEFERRABLE INITIALLY DEFERRED"
        connection.execute(text(f"CREATE TABLE children (parent INTEGER {reference})"))
    session = Session(engine)
    session.execute(text("INSERT INTO children VALUES (7)"))
    with pytest.raises(IntegrityError, match="FOREIGN KEY"):
        session.commit()
    note(engine, "after it")
    assert count(engine) == 1


def test_who_waits_is_let_in_as_soon_as_the_turn_is_given_back(engine: Engine) -> None:
    waiter = threading.Thread(target=note, args=(engine, "second"))
    with Session(engine) as session, session.begin():
        session.execute(text("INSERT INTO notes VALUES ('first')"))
        waiter.start()
        eventually(lambda: engine.pool.checkedout() == 2, 10, "it waits")  # type: ignore[attr-defined]
    waiter.join(10)
    assert not waiter.is_alive()
    assert count(engine) == 2


def test_who_waits_too_long_is_told_that_the_database_is_locked(tmp_path: Path) -> None:
    args = {"factory": WriterConnection, "timeout": 0.1}
    engine = create_engine(f"sqlite:///{tmp_path}/db", connect_args=args)
    event.listen(engine, "connect", database._sqlite_pragmas)
    event.listen(engine, "begin", Turns(0.2).begin)
    with engine.begin():
        begun = time.monotonic()
        with pytest.raises(OperationalError, match="locked"), engine.begin():
            pass
        assert time.monotonic() - begun >= 0.2
    with engine.begin():
        pass
    other = create_engine(f"sqlite:///{tmp_path}/db", connect_args=args)
    event.listen(other, "connect", database._sqlite_pragmas)
    event.listen(other, "begin", Turns(0.2).begin)
    with engine.begin():  # as another process would
        for _ in range(2):
            with pytest.raises(OperationalError, match="database is locked"), other.begin():
                pass
    with other.begin():
        pass
