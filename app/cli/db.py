"""`novella db`: the database's schema."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TypeVar

import click
from alembic.util.exc import CommandError
from sqlalchemy.exc import SQLAlchemyError

from app.config import settings
from app.errors import Invalid, NovellaError, Unavailable
from app.redaction import redact_text
from app.store import migrations

T = TypeVar("T")


@click.group()
def db() -> None:
    """The database's schema."""


@db.command()
@click.argument("revision", default="head")
def upgrade(revision: str) -> None:
    """Bring the schema to REVISION (the newest by default)."""
    _run(lambda: migrations.upgrade(settings().database, revision))
    click.echo(f"the schema is at {_run(_current)}")


@db.command()
@click.option("--network-cidr", help="The default network's addresses; else a free /20.")
def init(network_cidr: str | None) -> None:
    """Make schema, first rows, keys and passwords, unless a cloud is there; for deployments.

    bin/up does this by itself.
    """
    from app.cli.local import files
    from app.cli.local.first_start import first_start
    from app.cli.local.place import Place

    configured = settings()
    place = Place(configured.path(), configured.runtime_dir or configured.path("run"))
    place.make_state()
    environ = {"NOVELLA_NETWORK_CIDR": network_cidr or os.environ.get("NOVELLA_NETWORK_CIDR", "")}
    seeded = _run(lambda: first_start(place, configured, environ))
    if not seeded.created:
        click.echo(f"the cloud {seeded.cloud_id} is there; its schema is at {_run(_current)}")
        return
    files.write_clouds(place, configured)
    click.echo(f"a new cloud: {seeded.cloud_id}")
    click.echo(f"passwords: {place.secrets}/admin-password and novella-password, {place.clouds}")


@db.command()
@click.argument("revision")
def downgrade(revision: str) -> None:
    """Take the schema back to REVISION ("base" for nothing). Data of newer tables is lost."""
    _run(lambda: migrations.downgrade(settings().database, revision))
    click.echo(f"the schema is at {_run(_current)}")


@db.command()
def current() -> None:
    """Print the schema's revision; exit 1 when it is not the newest."""
    click.echo(_run(_current))
    if not _run(migrations.is_current):
        raise click.ClickException("the schema is not the newest: run `novella db upgrade`")


def _current() -> str:
    from alembic.runtime.migration import MigrationContext

    from app.store import database

    with database.engine().connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() or "base (empty)"


def _run(work: Callable[[], T]) -> T:
    try:
        return work()
    except NovellaError:
        raise
    except CommandError as error:
        raise Invalid(f"{error}: `novella db current` shows where the schema is") from error
    except SQLAlchemyError as error:
        where = redact_text(settings().database)
        cause = redact_text(str(getattr(error, "orig", error)).strip().splitlines()[0])
        raise Unavailable(f"database {where}: {cause}; check database_url") from error
