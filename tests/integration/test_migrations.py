"""Every migration up and down, and no difference between models and migrations."""

from __future__ import annotations

import uuid
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from app.store import migrations
from app.store.database import make_engine
from tests.postgres import fresh_database

REVISIONS = [
    script.revision
    for script in ScriptDirectory.from_config(migrations.config("")).walk_revisions()
]


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.sqlite'}"
    return fresh_database(request.getfixturevalue("postgres"), f"m{uuid.uuid4().hex}")


def tables(url: str) -> set[str]:
    """The names of the database's tables."""
    engine = make_engine(url)
    try:
        return set(inspect(engine).get_table_names()) - {"alembic_version"}
    finally:
        engine.dispose()


def test_every_revision_goes_up_and_down_and_up_again(url: str) -> None:
    for revision in reversed(REVISIONS):
        migrations.upgrade(url, revision)
        migrations.downgrade(url, "-1")
        migrations.upgrade(url, revision)
    assert "servers" in tables(url)
    migrations.downgrade(url, "base")
    assert tables(url) == set()


def test_models_and_migrations_agree(url: str) -> None:
    migrations.upgrade(url)
    migrations.check(url)
