"""Base images on a host: downloaded once, verified, shared by all guests that start from them.

An image is in the cache under its final name only when it is complete and its checksum is right.
However many builds want an image, one downloads; when that one is cancelled or fails, the next
takes over.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from app.domain.message import ImageSource
from app.errors import Cancelled, HostFault
from app.images.download import Download
from app.images.inspect_disk import check_format

logger = logging.getLogger(__name__)

WAIT_SECONDS = 3600.0
POLL_SECONDS = 0.1
ATTEMPTS = 5
MIB = 1024 * 1024
FORMATS = ("qcow2", "raw")
ALGORITHMS = ("sha256", "sha512")

Report = Callable[[int, str], None]

_locks: dict[Path, threading.Lock] = {}
_locks_lock = threading.Lock()


class HostCache:
    """The image cache in one directory; any number of threads and processes may share it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def get(self, image: ImageSource, cancel: threading.Event, report: Report) -> Path:
        """The path of the verified image, downloaded if it is not here.

        `report` gets percents of the download. Waits at most WAIT_SECONDS for another build's
        download. Raises Cancelled within POLL_SECONDS or so of `cancel`; HostFault
        "image_corrupt", "image_format", "image_missing", "image_denied", "image_unreachable" or
        "disk_full".
        """
        _check(image)
        path = self._path(image)
        if path.exists():
            return path
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            with self._only_one(path, cancel, report):
                if not path.exists():
                    self._fetch(image, path, cancel, report)
        except OSError as error:
            raise _io_fault(image, error) from error
        return path

    def prune(self, keep: set[Path], unused_seconds: float) -> list[Path]:
        """Remove images not in `keep` that nobody asked for in `unused_seconds`; return them.

        `keep` must name the base images of all disks on the host.
        """
        removed = []
        for path in self.directory.glob("*.image"):
            old = time.time() - path.stat().st_mtime > unused_seconds
            if old and path not in keep:
                path.unlink(missing_ok=True)
                removed.append(path)
        return removed

    def _path(self, image: ImageSource) -> Path:
        return self.directory / f"{image.id}-{image.checksum[:16]}.image"

    @contextmanager
    def _only_one(self, path: Path, cancel: threading.Event, report: Report) -> Iterator[None]:
        """Hold the image's lock, in this process and against others."""
        with _locks_lock:
            lock = _locks.setdefault(path, threading.Lock())
        deadline = time.monotonic() + WAIT_SECONDS
        report(0, "waiting for the image's download by another build")
        while not lock.acquire(timeout=POLL_SECONDS):
            _go_on(cancel, deadline)
        try:
            with path.with_suffix(".lock").open("w") as file:
                while not _flock(file.fileno()):
                    _go_on(cancel, deadline)
                    cancel.wait(POLL_SECONDS)
                _go_on(cancel, deadline)
                yield
        finally:
            lock.release()

    def _fetch(
        self, image: ImageSource, path: Path, cancel: threading.Event, report: Report
    ) -> None:
        """Download, verify and put in place; try again while the image server is away."""
        for stale in self.directory.glob(f".{path.name}.*.part"):
            stale.unlink(missing_ok=True)  # of a process that was killed: we hold the lock
        for attempt in range(1, ATTEMPTS + 1):
            # A name of its own: an abandoned download may still be about to remove its file.
            temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
            try:
                _download(Download(image, temporary), image, cancel, report)
                check_format(temporary, image.disk_format, image.id)
                temporary.rename(path)
                _sync(self.directory)
                return
            except HostFault as fault:
                if fault.code != "image_unreachable" or attempt == ATTEMPTS:
                    raise
                logger.warning("image %s: %s; trying again", image.id, fault.message)
            finally:
                temporary.unlink(missing_ok=True)
            if cancel.wait(2 ** (attempt - 1)):
                raise Cancelled(f"download of image {image.id} cancelled")


def _download(
    download: Download, image: ImageSource, cancel: threading.Event, report: Report
) -> None:
    """Watch the download's thread: it may block on a dead server, we may not."""
    total = max(image.size, 1)
    while not download.finished.wait(POLL_SECONDS):
        if cancel.is_set():
            download.abandon()
            raise Cancelled(f"download of image {image.id} cancelled")
        done = download.received
        report(
            min(done * 100 // total, 100),
            f"downloading image ({done // MIB} of {-(-image.size // MIB)} MiB)",
        )
    download.result()


def _check(image: ImageSource) -> None:
    if image.disk_format not in FORMATS:
        message = f"image {image.id} is {image.disk_format!r}; hosts run {' and '.join(FORMATS)}"
        raise HostFault(message, code="image_format", retriable=False)
    if image.checksum_algorithm not in ALGORITHMS or len(image.checksum) < 64:
        message = f"image {image.id} has no checksum of {' or '.join(ALGORITHMS)}"
        raise HostFault(message, code="image_corrupt", retriable=False)
    if "/" in image.id or image.id.startswith(".") or not image.checksum.isalnum():
        raise HostFault(f"no image id: {image.id!r}", code="bad_plan", retriable=False)


def _go_on(cancel: threading.Event, deadline: float) -> None:
    if cancel.is_set():
        raise Cancelled("cancelled while waiting for an image")
    if time.monotonic() > deadline:
        raise HostFault("another build's image download does not end", code="too_slow")


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _io_fault(image: ImageSource, error: OSError) -> HostFault:
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    code = "disk_full" if full else "host_io"
    return HostFault(f"image {image.id} into the cache: {error}", code=code)
