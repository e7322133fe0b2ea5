"""One download of an image into a file, in a thread of its own, verified as it arrives."""

from __future__ import annotations

import errno
import hashlib
import hmac
import logging
import os
import threading
from pathlib import Path
from typing import BinaryIO

import requests

from app.domain.message import ImageSource
from app.errors import HostFault

logger = logging.getLogger(__name__)
BLOCK = 256 * 1024
TIMEOUTS = (5.0, 15.0)
"""Seconds to connect, and between two reads."""


class Download:
    """Starts at once. `received` counts bytes; `finished` is set at the end, good or bad."""

    def __init__(self, image: ImageSource, path: Path, ca: Path | None = None) -> None:
        self.received = 0
        self.finished = threading.Event()
        self._image = image
        self._path = path
        self._ca = str(ca) if ca else None
        self._abandoned = False
        self._error: Exception | None = None
        self._verified = False
        threading.Thread(target=self._run, name="image-download", daemon=True).start()

    def abandon(self) -> None:
        """Let it end by itself, soon; what it still writes goes to a file without a name."""
        self._abandoned = True
        self._path.unlink(missing_ok=True)

    def result(self) -> None:
        """Raise what went wrong: a HostFault or an OSError; return when the file is good."""
        if self._error is not None:
            raise self._error
        if not self._verified:
            raise self._fault("its download did not end", "bug")

    def _run(self) -> None:
        try:
            with self._path.open("wb") as file:
                self._reserve(file)
                digest = self._receive(file)
                file.flush()
                os.fsync(file.fileno())
            self._verify(digest)
            self._verified = True
        except requests.RequestException as error:
            self._error = self._fault(f"no answer ({type(error).__name__})", "image_unreachable")
        except (HostFault, OSError) as error:
            self._error = error
        except Exception as error:
            logger.exception("the download of image %s failed", self._image.id)
            message = f"its download raised {type(error).__name__}: see the host's log"
            self._error = self._fault(message, "bug")
        finally:
            if self._abandoned:
                self._path.unlink(missing_ok=True)
            self.finished.set()

    def _reserve(self, file: BinaryIO) -> None:
        """Take all the room at once: downloads side by side must not fill the disk together."""
        if not self._image.size:
            return
        try:
            os.posix_fallocate(file.fileno(), 0, self._image.size)
        except OSError as error:
            if error.errno not in (errno.EOPNOTSUPP, errno.EINVAL):
                raise

    def _receive(self, file: BinaryIO) -> str:
        digest = hashlib.new(self._image.checksum_algorithm)
        headers = {"Authorization": f"Bearer {self._image.token}", "Accept-Encoding": "identity"}
        with requests.get(
            self._image.url,
            headers=headers,
            stream=True,
            timeout=TIMEOUTS,
            verify=self._ca,
            allow_redirects=False,
        ) as response:
            self._check_status(response.status_code)
            for block in response.iter_content(BLOCK):
                if self._abandoned:
                    break
                file.write(block)
                digest.update(block)
                self.received += len(block)
                if self._image.size and self.received > self._image.size:
                    raise self._fault("more bytes than it has", "image_corrupt")
        return digest.hexdigest()

    def _check_status(self, status: int) -> None:
        if status == 200:
            return
        message = f"image {self._image.id}: the image server answered {status}"
        if status in (404, 410):
            raise HostFault(message, code="image_missing", retriable=False)
        denied = status in (401, 403)
        raise HostFault(message, code="image_denied" if denied else "image_unreachable")

    def _verify(self, digest: str) -> None:
        if self._image.size and self.received != self._image.size:
            message = f"{self.received} of {self._image.size} bytes came"
            raise self._fault(message, "image_unreachable")
        if not hmac.compare_digest(digest, self._image.checksum.lower()):
            message = f"its {self._image.checksum_algorithm} is wrong"
            raise self._fault(message, "image_corrupt")

    def _fault(self, message: str, code: str) -> HostFault:
        return HostFault(f"image {self._image.id}: {message}", code=code)
