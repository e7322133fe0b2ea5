"""Images that this host fetches ahead of any build: one message each, told by every heartbeat."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from app import logs
from app.domain.message import Fault, ImageSource, known
from app.errors import Cancelled, HostFault
from app.virt.driver import Driver

log = logs.get(__name__)
AT_ONCE = 2
"""Downloads at a time; what comes beyond is dropped and rung again: builds need the threads."""


class Precaching:
    """The downloads that run now, by the ids of what was asked for."""

    def __init__(self, driver: Driver, ended: threading.Event, cloud_url: str = "") -> None:
        """`ended` cancels all; `cloud_url`, unless empty, is where this host reaches the API."""
        self._driver = driver
        self._ended = ended
        self._cloud_url = cloud_url
        self._lock = threading.Lock()
        self._percents: dict[str, int] = {}

    def percents(self) -> dict[str, int]:
        """How far each download is, for the heartbeat."""
        with self._lock:
            return dict(self._percents)

    def fetch(self, message: dict[str, Any]) -> Fault | None:
        """Have the message's image in the cache; why that failed, if it did.

        Raises Cancelled when there is nothing to say: it runs already, or the worker ends.
        """
        with self._admitted(str(message["id"])) as id_:
            try:
                image = known(ImageSource, message["image"])
                if self._cloud_url:
                    image = image.at(self._cloud_url)
                self._driver.cache_image(image, self._ended, lambda p, _: self._note(id_, p))
            except HostFault as error:
                return Fault(error.code, error.message, error.retriable)
            except Cancelled:
                raise
            except TypeError as error:
                return Fault("broken_message", f"broken image: {error}")
            except Exception as error:  # unanswered it would be rung for hours
                log.exception("an image could not be fetched", id=id_)
                text = f"fetching the image raised {type(error).__name__}: see the host's log"
                return Fault("bug", text, retriable=True)
        return None

    @contextmanager
    def _admitted(self, id_: str) -> Iterator[str]:
        with self._lock:
            if id_ in self._percents or len(self._percents) >= AT_ONCE:
                raise Cancelled("it is being fetched, or others are")
            self._percents[id_] = 0
        try:
            yield id_
        finally:
            with self._lock:
                del self._percents[id_]

    def _note(self, id_: str, percent: int) -> None:
        with self._lock:
            self._percents[id_] = percent


def answer(message: dict[str, Any], fault: Fault | None) -> dict[str, Any]:
    """What the control plane is told."""
    return {
        "host": message["host"],
        "id": message["id"],
        "attempt": message["attempt"],
        "fault": asdict(fault) if fault else None,
    }
