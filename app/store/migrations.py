"""Alembic from inside the program: the schema's scripts travel in the wheel."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory

from app.store import database


def config(url: str) -> Config:
    """An Alembic configuration for `url`, with the scripts of the checkout or of the wheel."""
    package = Path(__file__).resolve().parents[1]
    packaged = package / "_data" / "alembic"
    scripts = packaged if packaged.is_dir() else package.parent / "alembic"
    made = Config()
    made.set_main_option("script_location", str(scripts).replace("%", "%%"))
    made.attributes["url"] = url
    return made


def upgrade(url: str, revision: str = "head") -> None:
    """Bring the database to `revision`."""
    command.upgrade(config(url), revision)


def downgrade(url: str, revision: str) -> None:
    """Take the database back to `revision` ("base" for nothing)."""
    command.downgrade(config(url), revision)


def check(url: str) -> None:
    """Raise alembic's CommandError when models and migrations differ."""
    command.check(config(url))


def is_current() -> bool:
    """Whether the process's database has the newest schema."""
    head = ScriptDirectory.from_config(config("")).get_current_head()
    with database.engine().connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() == head
