"""Every migration up and down, and no difference between models and migrations."""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

import pytest
from alembic.script import ScriptDirectory
from sqlalchemy import JSON, Boolean, Column, Float, Integer, MetaData, Table, inspect, select
from sqlalchemy.engine import Connection

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


def value_for(column: Column[Any], connection: Connection) -> Any:
    """Something that fits: of the row referred to, where there is one."""
    for key in column.foreign_keys:
        return connection.scalar(select(key.column).limit(1))
    for kind, value in ((JSON, {"a": 1}), (Boolean, True), (Float, 1.5), (Integer, 1)):
        if isinstance(column.type, kind):
            return value
    return f"a {column.name}"[: getattr(column.type, "length", None) or 36]


def rows(url: str, fill: bool = False) -> dict[str, list[Any]]:
    """All rows of all tables; `fill` first puts one into each."""
    engine, metadata = make_engine(url), MetaData()
    metadata.reflect(engine)
    kept: list[Table] = [t for t in metadata.sorted_tables if t.name != "alembic_version"]
    try:
        with engine.begin() as connection:
            for table in kept if fill else []:
                row = {column.name: value_for(column, connection) for column in table.columns}
                connection.execute(table.insert().values(**row))
            return {
                table.name: list(connection.execute(select(table)).mappings()) for table in kept
            }
    finally:
        engine.dispose()


@pytest.mark.parametrize(("old", "new"), list(zip(REVISIONS[1:], REVISIONS, strict=False)))
def test_a_database_with_rows_in_every_table_loses_none(url: str, old: str, new: str) -> None:
    migrations.upgrade(url, old)
    before = rows(url, fill=True)
    assert {name: len(found) for name, found in before.items()} == dict.fromkeys(before, 1)
    for target in (migrations.upgrade, migrations.downgrade):
        target(url, new if target is migrations.upgrade else old)
        after = rows(url)
        for name, (row,) in before.items():
            assert len(after[name]) == 1, name
            kept = {key: after[name][0][key] for key in row}
            assert kept == dict(row), name
