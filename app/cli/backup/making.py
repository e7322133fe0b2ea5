"""Making a backup while the cloud runs: the database at one moment, then all that it refers to."""

from __future__ import annotations

import importlib.metadata
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from app.cli.backup import archive
from app.cli.backup.archive import Manifest, Writer
from app.config import Settings
from app.errors import Conflict, Invalid, Unavailable
from app.store import dumps
from app.store.dumps import Snapshot

MARGIN = 64 << 20
TLS = {"tls_certificate": "certificate.pem", "tls_key": "key.pem", "tls_ca": "ca.pem"}


def make(path: Path, settings: Settings, config: Path | None) -> Manifest:
    """Write a backup of the cloud of `settings`, whose settings file is `config`, to `path`.

    Raises Conflict when `path` exists, Invalid or Unavailable when it cannot be made; then
    nothing is left of it.
    """
    if path.exists():
        raise Conflict(f"{path} exists: give another name, or remove it")
    if not path.parent.is_dir():
        raise Invalid(f"there is no directory {path.parent}")
    size = dumps.size_of(settings.database)
    require_room(path.parent, size)
    # Beside the archive: there is room there, and /tmp may be memory.
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        database = Path(folder) / "database"
        os.close(os.open(database, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        snapshot = dumps.dump(settings.database, database)
        images = sum(size for _, size in snapshot.images)
        require_room(path.parent, database.stat().st_size + images)
        with archive.writing(path) as writer:
            return _write(writer, settings, config, snapshot, database)


def require_room(directory: Path, size: int) -> None:
    """Raise Unavailable unless `directory` has room for `size` bytes."""
    free = shutil.disk_usage(directory).free
    if free < size + MARGIN:
        raise Unavailable(
            f"{directory}: {free >> 20} MiB are free, {size + MARGIN >> 20} MiB may be needed"
        )


def _write(
    writer: Writer, settings: Settings, config: Path | None, snapshot: Snapshot, database: Path
) -> Manifest:
    is_sqlite = snapshot.kind == dumps.SQLITE
    writer.add(archive.SQLITE_MEMBER if is_sqlite else archive.POSTGRESQL_MEMBER, database)
    for name, source in _files(settings, config):
        writer.add(name, source)
    lost = []
    for file_name, _ in snapshot.images:
        try:
            writer.add(f"images/{file_name}", settings.path("images", file_name))
        except FileNotFoundError:
            lost.append(file_name)
    manifest = Manifest(
        novella=importlib.metadata.version("novella"),
        revision=snapshot.revision,
        cloud_id=snapshot.cloud_id,
        database=snapshot.kind,
        made_at=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        lost_images=lost,
        members=writer.members,
    )
    writer.finish(manifest)
    return manifest


def _files(settings: Settings, config: Path | None) -> Iterator[tuple[str, Path]]:
    """Everything but database and images, by its name in the archive."""
    if config is not None:
        yield "novella.toml", config
    for name in archive.STATE_FILES:
        if (path := settings.path(name)).is_file():
            yield name, path
    for folder in ("keys", "secrets"):
        for path in sorted(settings.path(folder).glob("[!.]*")):
            if path.is_file():
                yield f"{folder}/{path.name}", path
    for setting, name in TLS.items():
        path = getattr(settings, setting)
        if path is not None:
            yield f"tls/{name}", path
