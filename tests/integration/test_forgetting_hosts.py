"""A host that is forgotten waits for who changes aggregates, and holds nothing meanwhile."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select, text
from sqlalchemy.orm import Session

from app.models import Host
from app.store import aggregates, hosts_admin
from app.store.database import engine, transaction
from tests.asking import adopt, forget_process_state
from tests.cloud import Cloud, eventually
from tests.integration.host_rows import add_host
from tests.postgres import fresh_database


@pytest.fixture
def rows(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A cloud's database on PostgreSQL, and nothing that runs."""
    made = Cloud(tmp_path, database_url=fresh_database(postgres, f"g{uuid.uuid4().hex}"))
    made.prepare()
    adopt(made, monkeypatch)
    yield made
    engine().dispose()
    made.stop()
    forget_process_state()


def waiting() -> bool:
    """Whether somebody waits for a row of this database."""
    with engine().connect() as connection:
        found = connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        return found.scalar_one() > 0


def test_it_takes_the_clouds_row_before_the_hosts(rows: Cloud) -> None:
    add_host("n1", 1, state="down")
    with transaction() as session:
        aggregate = aggregates.add(session, "a", None).id
    errors: list[Exception] = []

    def forget() -> None:
        try:
            with transaction() as session:
                hosts_admin.forget(session, "n1")
        except Exception as error:  # noqa: BLE001  (told at the end)
            errors.append(error)

    forgetting = threading.Thread(target=forget)
    with Session(engine()) as session, session.begin():
        aggregates.change(session, aggregate, "b", {})
        forgetting.start()
        eventually(waiting, 10, "it waits for the cloud's row")
        aggregates.add_host(session, aggregate, "n1")
    forgetting.join(20)
    assert errors == []
    assert rows.scalars(select(Host.name)) == []
