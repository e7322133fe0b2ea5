"""Base images on a host: downloaded once, verified, shared by all guests that start from them.

An image is in the cache under its final name only when it is complete and its checksum is right.
However many builds want an image, one downloads; when that one is cancelled or fails, the next
takes over. What nobody uses is evicted (`app.images.eviction`): after a while, and at once when
there is no room.
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
from app.images.eviction import YOUNG_SECONDS, Evictor, free_bytes, hold
from app.images.inspect_disk import check_format

logger = logging.getLogger(__name__)

WAIT_SECONDS = 3600.0
HOLD_SECONDS = 60.0
POLL_SECONDS = 0.1
PAUSES = (1.0, 2.0, 4.0, 8.0)
MIB = 1024 * 1024
FORMATS = ("qcow2", "raw")
ALGORITHMS = ("sha256", "sha512")

Report = Callable[[int, str], None]

_locks: dict[Path, threading.Lock] = {}
_locks_lock = threading.Lock()


class HostCache:
    """The image cache in one directory; any number of threads and processes may share it."""

    def __init__(
        self, directory: Path, disks: Path, reserve: int = 0, ca: Path | None = None
    ) -> None:
        """`disks` has a folder for each guest; `reserve` is what downloads leave free, in bytes.

        `ca` has the CA certificates of the image server, unless public ones.
        """
        self.directory = directory
        self._reserve = reserve
        self._ca = ca
        self._evictor = Evictor(directory, disks)

    @contextmanager
    def lease(self, image: ImageSource, cancel: threading.Event, report: Report) -> Iterator[Path]:
        """The verified image, downloaded if it is not here; nobody evicts it during the block.

        A disk that the block makes upon it keeps it afterwards. `report` gets percents of the
        download. Waits at most WAIT_SECONDS for another build's download. Raises Cancelled within
        POLL_SECONDS or so of `cancel`; HostFault "image_corrupt", "image_format",
        "image_missing", "image_denied", "image_unreachable" or "disk_full".
        """
        _check(image)
        try:
            self._evictor.register()
            path = self._path(image)
            handle = self._held(image, path, cancel, report)
        except OSError as error:
            raise _io_fault(image, error) from error
        try:
            yield path
        finally:
            os.close(handle)

    def tidy(self, unused_seconds: float) -> list[Path]:
        """Evict what nobody used in so long, and more when there is too little room; return it.

        Bounded work; the next call goes on. Raises HostFault "host_io".
        """
        try:
            self._evictor.register()
            removed = self._evictor.evict(unused_seconds)
            if free_bytes(self.directory) < self._reserve:
                removed += self._evictor.evict(YOUNG_SECONDS, self._reserve)
        except (OSError, ValueError) as error:
            raise HostFault(f"the image cache: {error}", code="host_io") from error
        return removed

    def _held(self, image: ImageSource, path: Path, cancel: threading.Event, report: Report) -> int:
        """A handle that holds the image, downloaded if it is not here."""
        if (handle := _hold(path, cancel)) is not None:
            return handle
        with self._only_one(path, cancel, report):
            if (handle := _hold(path, cancel)) is not None:
                return handle
            return self._fetch(image, path, cancel, report)

    def _make_room(self, image: ImageSource) -> None:
        """Evict what nobody uses until the image fits, or refuse it."""
        wanted = image.size + self._reserve
        while (free := free_bytes(self.directory)) < wanted:
            if not self._evictor.evict(YOUNG_SECONDS, wanted):
                raise HostFault(
                    f"image {image.id} of {-(-image.size // MIB)} MiB does not fit into the cache:"
                    f" {free // MIB} MiB are free, {self._reserve // MIB} MiB must stay so",
                    code="disk_full",
                )

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
            with _locked(path.with_suffix(".lock"), cancel, deadline):
                yield
        finally:
            lock.release()

    def _fetch(
        self, image: ImageSource, path: Path, cancel: threading.Event, report: Report
    ) -> int:
        """Download, verify and put in place; try again while the image server is away.

        The handle that it returns holds the image from before it has its name.
        """
        for stale in self.directory.glob(f".{path.name}.*.part"):
            stale.unlink(missing_ok=True)  # of a process that was killed: we hold the lock
        for pause in PAUSES:
            try:
                return self._try(image, path, cancel, report)
            except HostFault as fault:
                if fault.code != "image_unreachable":
                    raise
                logger.warning("image %s: %s; trying again", image.id, fault.message)
            if cancel.wait(pause):
                raise Cancelled(f"download of image {image.id} cancelled")
        return self._try(image, path, cancel, report)

    def _try(self, image: ImageSource, path: Path, cancel: threading.Event, report: Report) -> int:
        # A name of its own: an abandoned download may still be about to remove its file.
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
        try:
            self._make_room(image)
            _download(Download(image, temporary, self._ca), image, cancel, report)
            check_format(temporary, image.disk_format, image.id)
            return _put(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


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


@contextmanager
def _locked(path: Path, cancel: threading.Event, deadline: float) -> Iterator[None]:
    """Hold the lock file `path`; a new one when the old one was evicted with its image."""
    while True:
        with path.open("w") as file:
            while not _flock(file.fileno()):
                _go_on(cancel, deadline)
                cancel.wait(POLL_SECONDS)
            _go_on(cancel, deadline)
            if os.fstat(file.fileno()).st_nlink:
                yield
                return


def _hold(path: Path, cancel: threading.Event) -> int | None:
    """Hold the image against eviction; waits for the evictor, who is quick."""
    deadline = time.monotonic() + HOLD_SECONDS
    while True:
        try:
            return hold(path)
        except BlockingIOError:
            _go_on(cancel, deadline)
            cancel.wait(POLL_SECONDS)


def _flock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _put(temporary: Path, path: Path) -> int:
    """Give the file its name, held from before; the handle."""
    handle = os.open(temporary, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_SH)
        temporary.rename(path)
        _sync(path.parent)
    except OSError:
        os.close(handle)
        raise
    return handle


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
