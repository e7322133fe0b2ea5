"""PostgreSQL that ends, crashes, is full or locked: 503 in words, no 202 that is not kept."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.errors import Unavailable
from app.models import Action, Server
from app.store import database
from app.web.factory import create_app
from tests.asking import add_image, adopt, caller, create, request
from tests.cloud import Cloud, allowed, eventually, running
from tests.http_client import Client
from tests.integration.web_fixtures import credentials
from tests.postgres import CRASH, FAST, PostgreSQL, postgresql_server
from tests.templates import plain

SERVERS = "/compute/v2.1/servers"


@pytest.fixture(scope="module")
def server() -> Iterator[PostgreSQL]:
    """A PostgreSQL of these tests' own, which they end and start again."""
    with postgresql_server() as made:
        yield made


@pytest.fixture
def on_postgres(
    server: PostgreSQL, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """A cloud on an empty database of that server."""
    with psycopg.connect(plain(server.url), autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{tmp_path.name}"')
    made = Cloud(tmp_path, database_url=server.url.rsplit("/", 1)[0] + "/" + tmp_path.name)
    with running(made):
        adopt(made, monkeypatch)
        yield made
        database.engine().dispose()


@pytest.mark.parametrize("how", [pytest.param(FAST, marks=pytest.mark.full), CRASH])
def test_no_202_is_lost_when_postgresql_ends_under_load(
    on_postgres: Cloud, server: PostgreSQL, how: int
) -> None:
    cloud = on_postgres
    cloud.settings |= {"fake_delay": "0.2"}
    cloud.start_control()
    cloud.start_host("n1")
    cloud.start_web()
    cloud.hosts_up("n1", seconds=60)
    client = Client(f"http://127.0.0.1:{cloud.web_port}")
    asker = Asker(client, add_image(cloud, caller(cloud).project_id))
    asker.start()
    eventually(lambda: asker.accepted, 10, "the first is accepted")
    server.stop(how)
    eventually(lambda: asker.refused, 10, "one is refused")
    server.start()
    back, count = time.monotonic(), len(asker.accepted)
    eventually(lambda: len(asker.accepted) > count, 4, "the next is accepted")
    asker.end()
    for task_id in asker.accepted:
        assert client.finished(task_id, 30)["state"] == "succeeded"
    assert time.monotonic() - back < allowed(20)
    assert asker.odd == []
    known = cloud.scalars(select(Action.id))
    # A refusal in mid-commit may have been kept; it says so, and is repeated with its key.
    assert set(asker.accepted) <= set(known)
    assert len(known) <= len(asker.accepted) + len(asker.refused)


class Asker(threading.Thread):
    """Asks for one server after the other."""

    def __init__(self, client: Client, image: str) -> None:
        super().__init__(daemon=True)
        self.client, self.image = client, image
        self.accepted: list[str] = []
        self.refused: list[str] = []
        self.odd: list[str] = []
        self._ends = threading.Event()

    def run(self) -> None:
        """Until told to end, or until the project's quota is nearly used up."""
        while not self._ends.wait(0.1) and len(self.accepted) < 9:
            self._ask()

    def _ask(self) -> None:
        body = {"server": {"name": "vm", "imageRef": self.image, "flavorRef": "6"}}
        answer = self.client.session.post(f"{self.client.root}{SERVERS}", json=body, timeout=60)
        if answer.status_code == 202:
            self.accepted.append(answer.headers["X-Task-Id"])
        elif answer.status_code == 503 and answer.headers.get("Retry-After"):
            self.refused.append(answer.text)
        else:
            self.odd.append(f"{answer.status_code} {answer.text}")

    def end(self) -> None:
        """Stop asking."""
        self._ends.set()
        self.join(60)


def test_a_row_that_somebody_keeps_locked_is_a_503_and_the_task_is_rung(
    on_postgres: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud = on_postgres
    who = caller(cloud)
    cloud.start_control()
    cloud.start_host("n1")
    cloud.hosts_up("n1", seconds=60)
    image = add_image(cloud, who.project_id)
    [(server_id, action_id)] = create(cloud, who, image)
    assert cloud.finished(action_id).state == "succeeded"
    stop = request(who, server_id, "stop", ring=False)

    monkeypatch.setitem(database.LIMITS, "lock_timeout", 300)
    database.engine.cache_clear()
    database._reading_engine.cache_clear()
    client = create_app().test_client()
    login = client.post("/identity/v3/auth/tokens", json=credentials("novella", "novella-password"))
    token = {"X-Auth-Token": login.headers["X-Subject-Token"]}
    with Session(cloud.engine) as other:  # keeps the row until its block ends
        other.execute(select(Server).where(Server.id == server_id).with_for_update())
        refused = client.delete(f"{SERVERS}/{server_id}", headers=token)
        assert refused.status_code == 503
        assert refused.headers["Retry-After"]
        assert "locked" in refused.text
        eventually(lambda: waits_in_vain(cloud), 40, "a task gives up")
    assert cloud.finished(stop, 30).state == "succeeded"


def waits_in_vain(cloud: Cloud) -> bool:
    """Whether a worker has met PostgreSQL's limit on waiting for a lock."""
    return "somebody else has locked a row" in cloud.log("control")


@pytest.mark.parametrize(
    ("state", "word"),
    [
        ("40P01", "in each other"),
        ("40001", "in each other"),
        ("53100", "disk is full"),
        ("53300", "database_connections"),
        ("57014", "longer than 20 s"),
        ("57P03", "starting or stopping"),
        ("25006", "takes no writes"),
        ("57P01", "away"),
        ("58030", "away"),
    ],
)
def test_what_postgresql_says_is_unavailable_in_words(
    server: PostgreSQL, monkeypatch: pytest.MonkeyPatch, state: str, word: str
) -> None:
    monkeypatch.setattr(database, "engine", lambda: database.make_engine(server.url))
    raising = f"DO $$ BEGIN RAISE EXCEPTION 'it is so' USING ERRCODE = '{state}'; END $$"
    with pytest.raises(Unavailable, match=word), database.transaction() as session:
        session.execute(text(raising))


def test_a_connection_that_was_ended_is_replaced_and_in_mid_commit_the_outcome_is_unknown(
    server: PostgreSQL, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = database.make_engine(server.url)
    monkeypatch.setattr(database, "engine", lambda: engine)

    def end_it(session: Session) -> None:
        pid = session.scalar(text("SELECT pg_backend_pid()"))
        with psycopg.connect(plain(server.url), autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))

    def work(goes_on: bool) -> None:
        with database.transaction() as session:
            end_it(session)
            if goes_on:
                session.execute(text("SELECT 1"))

    with pytest.raises(Unavailable, match="away"):
        work(goes_on=True)
    with pytest.raises(Unavailable, match="Idempotency-Key") as unknown:
        work(goes_on=False)
    assert unknown.value.code == "outcome_unknown"
    with database.transaction() as session:
        assert session.scalar(text("SELECT 1")) == 1
    engine.dispose()


def test_a_full_disk_under_sqlite_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = database.make_engine(f"sqlite:///{tmp_path / 'small.sqlite'}")
    monkeypatch.setattr(database, "engine", lambda: engine)
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE t (content BLOB)"))
        connection.commit()

    def fill(session: Session, size: int) -> Any:
        session.execute(text("PRAGMA max_page_count = 20"))
        return session.execute(text("INSERT INTO t VALUES (zeroblob(:size))"), {"size": size})

    with (
        pytest.raises(Unavailable, match="disk is full") as full,
        database.transaction() as session,
    ):
        fill(session, 1 << 20)
    assert isinstance(full.value.__cause__, OperationalError)
    with database.transaction() as session:
        assert fill(session, 100).rowcount == 1
    engine.dispose()
