"""The image store: files in one directory, which appear whole or not at all.

An upload grows as a draft (`<image id>.<random>.part`), locked by the process that writes it,
and becomes `<image id>` by a rename after fsync. A draft that nobody has locked is dead.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from app.errors import Invalid, TooLarge

MIB = 1024 * 1024
CHUNK = MIB
YOUNG_SECONDS = 60.0
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Source(Protocol):
    """Anything with a file's `read`."""

    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True)
class Sums:
    """What went through: bytes, MD5 and SHA-512 in hex."""

    size: int
    md5: str
    sha512: str


class Draft:
    """A file that is still growing."""

    def __init__(self, directory: Path, name: str, handle: int) -> None:
        self.name = name
        self.path = directory / name
        self._directory = directory
        self._handle = handle

    def receive(
        self, source: Source, limit: int, length: int | None = None, reserve: int = 0
    ) -> Sums:
        """Take all of `source`, in pieces of a MiB; `length` is how many bytes it should have.

        Raises TooLarge past `limit` bytes or when less than `reserve` bytes would be left free,
        Invalid when it ends early.
        """
        size, md5, sha512 = 0, hashlib.md5(usedforsecurity=False), hashlib.sha512()
        while chunk := _read(source):
            size += len(chunk)
            if size > limit:
                raise TooLarge(f"The image is larger than the limit of {limit} bytes.")
            md5.update(chunk)
            sha512.update(chunk)
            require_room(self._directory, len(chunk), reserve)
            with _room():
                _write(self._handle, chunk)
        if length is not None and size < length:
            raise Invalid(f"The data ended after {size} of {length} bytes.", code="cut_off")
        return Sums(size, md5.hexdigest(), sha512.hexdigest())

    def publish(self, name: str) -> None:
        """Make the draft the file `name`, durably and at once."""
        with _room():
            os.fsync(self._handle)
        os.replace(self.path, self._directory / name)
        _sync(self._directory)


def require_room(directory: Path, size: int, reserve: int) -> None:
    """Raise TooLarge unless `size` more bytes leave `reserve` bytes free."""
    directory.mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(directory).free
    if free - size < reserve:
        raise TooLarge(
            f"The image store is full: {free // MIB} MiB are free, and {reserve // MIB} MiB must "
            "stay so.",
            code="image_store_full",
        )


def room(directory: Path) -> tuple[int, int]:
    """How many bytes the store holds, and how many are free beside them. Raises OSError."""
    directory.mkdir(parents=True, exist_ok=True)
    used = 0
    for entry in os.scandir(directory):
        with suppress(FileNotFoundError):
            used += entry.stat().st_size
    return used, shutil.disk_usage(directory).free


def drain(source: Source, seconds: float) -> None:
    """Read on and throw away, for a while: a client that still sends would see its connection
    break, and never the refusal."""
    end = time.monotonic() + seconds
    with suppress(OSError):
        while time.monotonic() < end and source.read(CHUNK):
            pass


@contextmanager
def draft(directory: Path, image_id: str) -> Iterator[Draft]:
    """A new draft for the length of the block; removed at its end unless published."""
    directory.mkdir(parents=True, exist_ok=True)
    name = f"{image_id}.{secrets.token_hex(8)}.part"
    with _room():
        handle = os.open(directory / name, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield Draft(directory, name, handle)
    finally:
        (directory / name).unlink(missing_ok=True)
        os.close(handle)


def is_dead(directory: Path, name: str) -> bool:
    """Whether nobody writes the draft `name` any more."""
    try:
        handle = os.open(directory / name, os.O_RDWR)
    except FileNotFoundError:
        return True
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def sweep(directory: Path) -> list[str]:
    """Remove dead drafts; their names. A young one may be about to be locked."""
    old = time.time() - YOUNG_SECONDS
    drafts = [path.name for path in directory.glob("*.part") if path.stat().st_mtime < old]
    dead = [name for name in drafts if is_dead(directory, name)]
    for name in dead:
        remove(directory, name)
    return dead


def remove(directory: Path, name: str) -> None:
    """Remove a file, if it is there. Downloads that run go on to their end."""
    (directory / name).unlink(missing_ok=True)


def _read(source: Source) -> bytes:
    try:
        return source.read(CHUNK)
    except OSError as error:
        raise Invalid("The data ended early.", code="cut_off") from error


def _write(handle: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(handle, view) :]


def _sync(directory: Path) -> None:
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def _room() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise TooLarge("The image store is full.", code="image_store_full") from error
        raise
