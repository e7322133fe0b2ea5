"""Restoring a backup into a new directory: everything is checked first, and appears at once."""

from __future__ import annotations

import secrets
import shutil
from dataclasses import fields
from pathlib import Path
from typing import Any

from alembic.script import ScriptDirectory

from app.cli.backup import archive
from app.cli.backup.archive import Manifest
from app.cli.backup.making import TLS, require_room
from app.cli.local import files
from app.cli.local.place import Place
from app.config import Settings
from app.errors import Conflict, Invalid, NovellaError, Unavailable
from app.store import dumps, migrations

_OWN_LIBVIRTD = "/libvirt/libvirt-sock"


def check(path: Path) -> Manifest:
    """Read the whole backup. Raises Invalid unless it is whole and this Novella can use it."""
    manifest = archive.check(path)
    kinds = {dumps.SQLITE: archive.SQLITE_MEMBER, dumps.POSTGRESQL: archive.POSTGRESQL_MEMBER}
    if kinds.get(manifest.database) not in manifest.members:
        raise Invalid(f"{path} is no backup: it has no database")
    scripts = ScriptDirectory.from_config(migrations.config(""))
    known = [script.revision for script in scripts.walk_revisions()]
    if manifest.revision not in known:
        raise Invalid(
            f"{path}: its schema {manifest.revision} is unknown here, so a newer Novella made it "
            f"({manifest.novella}): restore it with that one"
        )
    return manifest


def restore(path: Path, into: Path, database_url: str) -> Manifest:
    """Make the cloud of the backup anew in the directory `into`, which must be empty or new.

    A PostgreSQL backup goes into the empty database `database_url`. On failure nothing is left
    in the directory, nor in the database unless the error says so. Raises Invalid, Conflict or
    Unavailable.
    """
    into = into.absolute()
    manifest = check(path)
    _require_database(manifest, database_url)
    if into.exists() and (not into.is_dir() or any(into.iterdir())):
        raise Conflict(f"{into} is not empty: a cloud is restored into a new directory")
    into.parent.mkdir(parents=True, exist_ok=True)
    require_room(into.parent, manifest.size)
    draft = into.with_name(f".{into.name}.{secrets.token_hex(4)}.part")
    draft.mkdir(mode=0o700)
    try:
        if archive.extract(path, draft) != manifest:
            raise Conflict(f"{path} changed while it was read")
        _settle(draft, into, manifest, database_url)
        archive.sync(draft)
        draft.rename(into)
        archive.sync(into.parent)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return manifest


def _require_database(manifest: Manifest, database_url: str) -> None:
    if manifest.database == dumps.SQLITE and database_url:
        raise Invalid("this backup is of SQLite: restore it without --database-url")
    if manifest.database == dumps.POSTGRESQL:
        if not database_url:
            raise Invalid("this backup is of PostgreSQL: give --database-url of an empty database")
        if dumps.kind_of(database_url) != dumps.POSTGRESQL:
            raise Invalid("--database-url: this backup is of PostgreSQL, and so must that be")


def _settle(draft: Path, into: Path, manifest: Manifest, database_url: str) -> None:
    """Settings and database of the restored cloud."""
    place = Place(draft, draft)
    values = files.read_settings(place) if place.config.exists() else {}
    files.write_settings(place, _settings(values, into, manifest, database_url))
    if manifest.database == dumps.SQLITE:
        database = draft / "novella.sqlite"
        (draft / archive.SQLITE_MEMBER).rename(database)
        dumps.forget_lost(f"sqlite:///{database}", manifest.lost_images)
        return
    dump = draft / archive.POSTGRESQL_MEMBER
    dumps.load(dump, database_url)
    try:
        dump.unlink()
        dumps.forget_lost(database_url, manifest.lost_images)
    except (NovellaError, OSError) as error:
        raise Unavailable(
            f"the database is filled, and then: {error}; empty it before you try again"
        ) from error


def _settings(
    old: dict[str, Any], into: Path, manifest: Manifest, database_url: str
) -> dict[str, Any]:
    """The old settings, with all places in the new directory."""
    before = str(old.get("state_dir", ""))
    values = {k: v for k, v in old.items() if k not in ("runtime_dir", "database_url")}
    if str(values.get("libvirt_uri", "")).endswith(_OWN_LIBVIRTD):
        del values["libvirt_uri"]  # of the cloud's own libvirtd, whose place bin/up chooses
    for field in fields(Settings):
        value = str(values.get(field.name, ""))
        if before and "Path" in str(field.type) and value.startswith(f"{before}/"):
            values[field.name] = str(into) + value.removeprefix(before)
    for setting, name in TLS.items():
        if f"tls/{name}" in manifest.members:
            values[setting] = str(into / "tls" / name)
    values |= {"state_dir": str(into), "cloud_id": manifest.cloud_id}
    return values | ({"database_url": database_url} if database_url else {})
