"""Sending the data of an image that a host has made, in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import requests

from app.domain.message import ImageTarget
from app.errors import Cancelled, HostFault

TIMEOUTS = (5.0, 120.0)
"""Seconds to connect, and for an answer: it comes when the data was inspected and synced."""
PAUSES = (1.0, 2.0, 4.0)
POLL_SECONDS = 0.2
MIB = 1024 * 1024

Report = Callable[[int, str], None]


class _Source:
    """The file as requests reads it; ends early when it was abandoned."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.len = size
        self.sent = 0
        self.abandoned = False

    def read(self, size: int = -1) -> bytes:
        """The next bytes. Raises OSError once nobody wants them sent."""
        if self.abandoned:
            raise OSError("abandoned")
        data = self._file.read(min(size, MIB) if size > 0 else MIB)
        self.sent += len(data)
        return data


def send(
    target: ImageTarget, path: Path, cancel: threading.Event, report: Report, ca: Path | None
) -> dict[str, Any]:
    """Send the file; what the image service says of it: size, virtual_size, md5, sha512.

    Tries again while the service is away. Raises Cancelled within POLL_SECONDS or so of `cancel`;
    HostFault "image_gone" when nobody wants the image any more, "image_refused" with the service's
    words, "image_unreachable".
    """
    for pause in (*PAUSES, None):
        try:
            return _try(target, path, cancel, report, ca)
        except HostFault as fault:
            if fault.code != "image_unreachable" or pause is None:
                raise
        if cancel.wait(pause):
            break
    raise Cancelled(f"sending image {target.id} was cancelled")


def _try(
    target: ImageTarget, path: Path, cancel: threading.Event, report: Report, ca: Path | None
) -> dict[str, Any]:
    size = path.stat().st_size
    answers: list[requests.Response | Exception] = []
    finished = threading.Event()
    with path.open("rb") as file:
        source = _Source(file, size)

        def work() -> None:
            try:
                answers.append(_put(target, source, ca))
            except (requests.RequestException, OSError) as error:
                answers.append(error)
            finally:
                finished.set()

        threading.Thread(target=work, name="image-upload", daemon=True).start()
        while not finished.wait(POLL_SECONDS):
            if cancel.is_set():
                source.abandoned = True
                raise Cancelled(f"sending image {target.id} was cancelled")
            share = 50 + source.sent * 49 // max(1, size)
            report(share, f"sending the image ({source.sent // MIB} of {size // MIB} MiB)")
    return _read(target, answers[0])


def _put(target: ImageTarget, source: _Source, ca: Path | None) -> requests.Response:
    headers = {
        "Authorization": f"Bearer {target.token}",
        "Content-Type": "application/octet-stream",
        "Content-Length": str(source.len),
        "Accept": "application/json",
    }
    return requests.put(
        target.url,
        data=source,
        headers=headers,
        timeout=TIMEOUTS,
        verify=str(ca) if ca else None,
        allow_redirects=False,
    )


def _read(target: ImageTarget, answer: requests.Response | Exception) -> dict[str, Any]:
    if isinstance(answer, Exception):
        message = f"image {target.id}: no answer ({type(answer).__name__})"
        raise HostFault(message, code="image_unreachable", retriable=False) from answer
    if answer.status_code == 200:
        told: dict[str, Any] = answer.json()
        return told
    if answer.status_code in (404, 409, 410):
        message = f"image {target.id} was deleted while it was made"
        raise HostFault(message, code="image_gone", retriable=False)
    refused = answer.status_code in (400, 401, 403, 413)
    message = f"image {target.id}: the image service answered {answer.status_code}"
    if refused:
        message += f": {answer.text[:200]}"
    raise HostFault(
        message, code="image_refused" if refused else "image_unreachable", retriable=False
    )
