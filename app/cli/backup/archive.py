"""The archive: a tar.gz of known names, with a manifest as its last member.

A backup that was cut off has no manifest, one that was changed has wrong sums: both are refused
before anything is made of them.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import secrets
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any, cast

from app.errors import Conflict, Invalid

FORMAT, VERSION = "novella-backup", 1
MANIFEST = "manifest.json"
SQLITE_MEMBER, POSTGRESQL_MEMBER = "database.sqlite", "database.pgdump"
STATE_FILES = ("clouds.yaml", "host_name", "first_server", "libvirt/host_uuid")
FOLDERS = ("images", "keys", "secrets", "tls")
_SINGLE = {"novella.toml", SQLITE_MEMBER, POSTGRESQL_MEMBER, *STATE_FILES}
_IN_FOLDER = re.compile(rf"(?:{'|'.join(FOLDERS)})/[^./\x00-\x1f][^/\x00-\x1f]{{0,254}}")
_MANIFEST_LIMIT = 64 << 20
_PIECE = 1 << 20
_BROKEN = (tarfile.TarError, EOFError, zlib.error, gzip.BadGzipFile)


@dataclass(frozen=True)
class Member:
    """One file in the archive."""

    size: int
    sha256: str


@dataclass(frozen=True)
class Manifest:
    """What the archive is a backup of. `made_at` is UTC; `lost_images` had no file any more."""

    novella: str
    revision: str
    cloud_id: str
    database: str
    made_at: str
    lost_images: list[str]
    members: dict[str, Member] = field(default_factory=dict)
    format: str = FORMAT
    format_version: int = VERSION

    @property
    def size(self) -> int:
        """All files together, in bytes."""
        return sum(member.size for member in self.members.values())


class Writer:
    """An archive that grows under a temporary name."""

    def __init__(self, tar: tarfile.TarFile) -> None:
        self._tar = tar
        self.members: dict[str, Member] = {}

    def add(self, name: str, path: Path) -> None:
        """Add the file `path`. Raises FileNotFoundError, Conflict when it changes meanwhile."""
        if not is_known(name):
            raise Invalid(f"{path}: a backup has no file {name}")
        with path.open("rb") as file:
            found = os.fstat(file.fileno())
            about = tarfile.TarInfo(name)
            about.size, about.mtime, about.mode = found.st_size, found.st_mtime, 0o600
            summed = _Summing(file)
            try:
                self._tar.addfile(about, cast("IO[bytes]", summed))
            except OSError as error:
                if "unexpected end of data" in str(error):
                    raise Conflict(f"{path} changed while it was read: try again") from error
                raise
        self.members[name] = Member(found.st_size, summed.hex)

    def finish(self, manifest: Manifest) -> None:
        """Add the manifest, which ends the archive."""
        text = json.dumps(asdict(manifest), indent=1).encode()
        about = tarfile.TarInfo(MANIFEST)
        about.size, about.mode = len(text), 0o600
        self._tar.addfile(about, io.BytesIO(text))


@contextmanager
def writing(path: Path) -> Iterator[Writer]:
    """A new archive `path` (0600), which is there at the end of the block, whole, or not at all."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            with tarfile.open(fileobj=file, mode="w:gz", compresslevel=1) as tar:
                yield Writer(tar)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)
        sync(path.parent)
    finally:
        draft.unlink(missing_ok=True)


def check(path: Path) -> Manifest:
    """Read all of the archive against its manifest. Raises Invalid for any difference."""
    return _read(path, None)


def extract(path: Path, directory: Path) -> Manifest:
    """Write all members below `directory`, and check them as they are written. Raises Invalid."""
    return _read(path, directory)


def is_known(name: str) -> bool:
    """Whether a backup may have a file of that name: a list, so that no path leads elsewhere."""
    return name in _SINGLE or _IN_FOLDER.fullmatch(name) is not None


def sync(path: Path) -> None:
    """Make a directory's entries durable."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _read(path: Path, directory: Path | None) -> Manifest:
    found: dict[str, Member] = {}
    text: bytes | None = None
    try:
        with tarfile.open(path, mode="r:gz") as tar:
            for about in tar:
                if text is not None:
                    raise Invalid(f"{path} is damaged: something follows its manifest")
                if not about.isreg() or about.name in found:
                    raise Invalid(f"{path} is no backup: {about.name!r} is not a file of its own")
                content = cast("IO[bytes]", tar.extractfile(about))
                if about.name == MANIFEST:
                    text = content.read(_MANIFEST_LIMIT)
                elif is_known(about.name):
                    found[about.name] = _take(content, about, directory)
                else:
                    raise Invalid(f"{path} is no backup: it has a file {about.name!r}")
            while cast("IO[bytes]", tar.fileobj).read(_PIECE):
                pass  # to the end, where gzip's own sum covers headers and manifest too
    except _BROKEN as error:
        raise Invalid(f"{path} is damaged, or no backup: {error}") from error
    if text is None:
        raise Invalid(f"{path} is cut off: it has no manifest")
    manifest = _manifest(path, text)
    for name in sorted({*manifest.members, *found}):
        if manifest.members.get(name) != found.get(name):
            raise Invalid(f"{path} is damaged: {name} is not as the manifest says")
    return manifest


def _take(content: IO[bytes], about: tarfile.TarInfo, directory: Path | None) -> Member:
    summed = _Summing(content)
    if directory is None:
        while summed.read(_PIECE):
            pass
        return Member(summed.size, summed.hex)
    path = directory / about.name
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        while piece := summed.read(_PIECE):
            file.write(piece)
        file.flush()
        os.fsync(file.fileno())
    os.utime(path, (about.mtime, about.mtime))  # the newest key signs
    return Member(summed.size, summed.hex)


def _manifest(path: Path, text: bytes) -> Manifest:
    try:
        data: dict[str, Any] = json.loads(text)
        if data["format"] != FORMAT:
            raise Invalid(f"{path} is no backup of Novella's")
        if data["format_version"] != VERSION:
            raise Invalid(f"{path} was made by another Novella ({data['novella']}): use that one")
        members = {name: Member(**one) for name, one in data.pop("members").items()}
        return Manifest(**data, members=members)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise Invalid(f"{path} is damaged: its manifest cannot be read") from error


class _Summing:
    """A file that is summed as it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._sum = hashlib.sha256()
        self.size = 0

    def read(self, size: int = -1) -> bytes:
        """The next piece."""
        piece = self._file.read(size)
        self._sum.update(piece)
        self.size += len(piece)
        return piece

    @property
    def hex(self) -> str:
        """The SHA-256 of what was read."""
        return self._sum.hexdigest()
