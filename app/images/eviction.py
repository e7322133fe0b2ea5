"""Which base images a host may forget: those that no disk stands on and no build holds.

A build holds its image shared until its disk is there; the evictor takes each candidate alone
first and looks for disks second. So a disk that it does not see cannot come into being, and a
build that comes later finds the image gone and downloads it again.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import secrets
import shutil
import struct
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

logger = logging.getLogger(__name__)

AT_ONCE = 16
"""Images that one turn looks at, at most."""
YOUNG_SECONDS = 60.0
"""An image used so short ago stays, however little room there is."""
_HEADER = struct.Struct(">4sIQI")
_MAGIC = b"QFI\xfb"
_NAME_BYTES = 1023


@dataclass(frozen=True)
class Evictor:
    """Evicts from the cache `directory`; `disks` is where this host's guests have theirs.

    Several hosts may share a cache: each notes its `disks` there, and as long as one of these
    places cannot be seen from here, nothing is evicted.
    """

    directory: Path
    disks: Path

    def register(self) -> None:
        """Note in the cache where our disks are."""
        self.disks.mkdir(parents=True, exist_ok=True)
        found = self.disks.stat()
        note = {"disks": str(self.disks), "device": found.st_dev, "inode": found.st_ino}
        name = hashlib.sha256(os.fsencode(self.disks)).hexdigest()[:16]
        path = self.directory / "users" / f"{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.read_text() == json.dumps(note):
            return
        draft = path.with_suffix(f".{secrets.token_hex(8)}.part")
        with draft.open("w") as file:
            file.write(json.dumps(note))
            file.flush()
            os.fsync(file.fileno())
        draft.rename(path)

    def evict(self, unused_seconds: float, until_free: int | None = None) -> list[Path]:
        """Remove images that nobody used in `unused_seconds`, the oldest first; return them.

        With `until_free` only as many as it takes until so many bytes are free. Raises OSError.
        """
        used = self._bases()
        if used is None:
            return []
        for name in used:
            _touch(self.directory / name)
        candidates = [path for path in self._oldest(unused_seconds) if path.name not in used]
        removed: list[Path] = []
        with ExitStack() as held:
            alone = [(path, file) for path in candidates[:AT_ONCE] if (file := _alone(path, held))]
            used = self._bases() if alone else None
            if used is None:
                return []
            for path, file in alone:
                if until_free is not None and free_bytes(self.directory) >= until_free:
                    break
                if path.name not in used:
                    _remove(path, file)
                    removed.append(path)
        return removed

    def _oldest(self, unused_seconds: float) -> list[Path]:
        """Images by their last use, those used longest ago first, without those in use lately."""
        old = time.time() - max(unused_seconds, YOUNG_SECONDS)
        found = []
        for path in self.directory.glob("*.image"):
            with suppress(FileNotFoundError):
                found.append((path.stat().st_mtime, path))
        return [path for last_use, path in sorted(found) if last_use < old]

    def _bases(self) -> set[str] | None:
        """Names of the images that disks stand on; None when some disks cannot be seen."""
        names: set[str] = set()
        for note in sorted((self.directory / "users").glob("*.json")):
            try:
                user = json.loads(note.read_text())
                disks = Path(user["disks"])
            except (ValueError, TypeError, KeyError, FileNotFoundError):
                logger.warning("nothing is evicted: %s cannot be read", note)
                return None
            if not _is_there(disks, user["device"], user["inode"]):
                logger.warning("nothing is evicted: %s names disks that are not here", note)
                return None
            names |= set(_backing_files(disks))
        return names


def hold(path: Path) -> int | None:
    """A handle that keeps the image from eviction until it is closed; None when it is gone.

    Raises BlockingIOError while the evictor looks at it.
    """
    try:
        handle = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise
    if os.fstat(handle).st_nlink == 0:
        os.close(handle)
        return None
    os.utime(handle)  # its last use is now
    return handle


def free_bytes(directory: Path) -> int:
    """What is free on the file system of `directory`."""
    return shutil.disk_usage(directory).free


def backing_file(path: Path) -> str | None:
    """The backing file that a qcow2's header names; None when it has none or is no qcow2."""
    with path.open("rb") as file:
        header = file.read(_HEADER.size)
        if len(header) < _HEADER.size:
            return None
        magic, _, offset, size = _HEADER.unpack(header)
        if magic != _MAGIC or not offset:
            return None
        file.seek(offset)
        return os.fsdecode(file.read(min(size, _NAME_BYTES)))


def _backing_files(disks: Path) -> Iterator[str]:
    for folder in disks.iterdir():
        if not folder.is_dir():
            continue
        for path in [*folder.glob("*.qcow2"), *folder.glob(".*.part")]:
            with suppress(FileNotFoundError):  # removed with its server, just now
                if base := backing_file(path):
                    yield Path(base).name


def _is_there(disks: Path, device: int, inode: int) -> bool:
    try:
        found = disks.stat()
    except OSError:
        return False
    return (found.st_dev, found.st_ino) == (device, inode)


def _touch(path: Path) -> None:
    with suppress(FileNotFoundError):
        os.utime(path)


def _alone(path: Path, held: ExitStack) -> BinaryIO | None:
    """The image, open, if no build holds it; then none can until it is closed."""
    try:
        file = held.enter_context(path.open("rb"))
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return None
    return file


def _remove(path: Path, file: BinaryIO) -> None:
    path.unlink(missing_ok=True)
    _remove_lock(path.with_suffix(".lock"))
    file.close()  # only now its room is free
    logger.info("evicted the base image %s, which nobody uses", path.name)


def _remove_lock(path: Path) -> None:
    """Remove the lock of an image's download, unless somebody downloads it again already."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink(missing_ok=True)
    except BlockingIOError:
        pass
    finally:
        os.close(handle)
