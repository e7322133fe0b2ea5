"""The two commands."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from app.cli.backup import making, restoring
from app.cli.backup.archive import Manifest
from app.config import settings
from app.errors import Unavailable

_file = click.argument("file", type=click.Path(path_type=Path))


@click.command()
@_file
@click.option("--check", "only_check", is_flag=True, help="Read FILE and verify all of it.")
def backup(file: Path, only_check: bool) -> None:
    """Back the cloud up into the new FILE (tar.gz), while it runs.

    It holds the database, images, keys, passwords and settings: keep it as safe as those. Disks
    of servers are not in it.
    """
    file = file.absolute()
    try:
        if only_check:
            manifest = restoring.check(file)
            click.echo(f"{file} is whole: {_told(manifest)}")
            return
        named = os.environ.get("NOVELLA_CONFIG")
        manifest = making.make(file, settings(), Path(named) if named else None)
    except OSError as error:
        raise Unavailable(f"{error.filename or file}: {error.strerror or error}") from error
    click.echo(f"{file}: {_told(manifest)}")
    for image_id in manifest.lost_images:
        click.echo(f"image {image_id} was deleted meanwhile, and is not in it", err=True)


@click.command()
@_file
@click.option(
    "--into",
    required=True,
    type=click.Path(path_type=Path),
    help="The new state directory; empty, or not there yet.",
)
@click.option(
    "--database-url",
    default="",
    help="For a backup of PostgreSQL: an empty database. NOVELLA_DATABASE_URL does as well.",
    envvar="NOVELLA_DATABASE_URL",
)
def restore(file: Path, into: Path, database_url: str) -> None:
    """Make the cloud of the backup FILE anew in a new directory.

    Never run it beside the cloud that it is a backup of on the same hosts or the same broker.
    """
    into = into.absolute()
    try:
        manifest = restoring.restore(file.absolute(), into, database_url)
    except OSError as error:
        raise Unavailable(f"{error.filename or into}: {error.strerror or error}") from error
    click.echo(f"restored into {into}: {_told(manifest)}")
    click.echo(f"start it with: NOVELLA_STATE_DIR={shlex.quote(str(into))} bin/up --no-guest")


def _told(manifest: Manifest) -> str:
    images = sum(name.startswith("images/") for name in manifest.members)
    return (
        f"cloud {manifest.cloud_id} as of {manifest.made_at}, {manifest.database} at schema "
        f"{manifest.revision}, {images} images, {manifest.size / (1 << 20):.1f} MiB"
    )
