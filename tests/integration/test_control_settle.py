"""The database goes away while an outcome is settled: it is not the action's failure."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from celery.result import AsyncResult

from app.celery import make_app
from tests.asking import add_image, adopt, caller, create, forget_process_state
from tests.cloud import Cloud, eventually, running
from tests.integration.test_recovery import builds
from tests.postgres import fresh_database


@contextmanager
def away(server: str, name: str) -> Iterator[None]:
    """The database ends all connections, and takes none."""
    plain = server.replace("postgresql+psycopg://", "postgresql://")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", (name,)
        )
        try:
            yield
        finally:
            connection.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def test_an_outcome_that_the_database_did_not_take_is_settled_when_it_is_back(
    postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = f"s{uuid.uuid4().hex}"
    cloud = Cloud(tmp_path, database_url=fresh_database(postgres, name))
    with running(cloud):
        adopt(cloud, monkeypatch)
        cloud.start_control()
        cloud.start_host("n1", fake_delay="6")
        cloud.hosts_up("n1")
        who = caller(cloud)
        [(server_id, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
        eventually(lambda: builds(cloud, action_id), 20, "the host builds")
        cloud.engine.dispose()
        with away(postgres, name):
            eventually(lambda: "not settled; the sweep rings again" in cloud.log("control"), 30)
        result = AsyncResult(action_id, app=make_app())
        assert result.state not in ("FAILURE", "SUCCESS")
        action = cloud.finished(action_id)
        assert (action.state, action.tries) == ("succeeded", 0)
        assert cloud.server(server_id).vm_state == "active"
        assert eventually(lambda: result.state == "SUCCESS", 10)
        assert cloud.log("host-n1").count('"event": "done"') >= 2, "the host answered again"
    forget_process_state()
