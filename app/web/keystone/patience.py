"""How a service elsewhere is waited for: for so long, by so many, and not again and again."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from contextlib import contextmanager
from typing import TypeVar

from app import logs
from app.errors import Unavailable

T = TypeVar("T")
PAUSE_SECONDS = 1.0
"""How long a service that gave no answer is left alone before one request tries it again."""


class Away(Unavailable):
    """The service gave no answer, or could not: it is not about what one caller asked."""


class Patience:
    """Runs calls that may hang. While the service is away all but one caller are refused at once.

    `seconds`: what a caller waits at most. `at_once`: calls under way. `waiting`: callers, of whom
    each holds a thread of the web process.
    """

    def __init__(self, name: str, seconds: float, at_once: int, waiting: int) -> None:
        self._name, self._seconds = name, seconds
        self._calls = ThreadPoolExecutor(at_once, thread_name_prefix="keystone")
        self._places = threading.BoundedSemaphore(waiting)
        self._lock = threading.Lock()
        self._away = self._trying = False
        self._answered = self._failed = float("-inf")

    def run(self, call: Callable[[], T]) -> T:
        """What `call` returns or raises; its Away is what is held against the service.

        Raises Away, too, when no answer came in time, and Unavailable when the call was not made.
        """
        if not self._places.acquire(blocking=False):
            raise Unavailable(f"too many requests wait for {self._name}; try again")
        try:
            with self._turn():
                return self._in_time(call)
        finally:
            self._places.release()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        tries, begun = self._enter(), time.monotonic()
        try:
            yield
        except Away:
            with self._lock:
                self._failed = time.monotonic()
                # One that was slow while others were answered says nothing.
                self._away = self._away or self._answered < begun
            raise
        except Exception:
            self._note_answer()  # a refusal is an answer, and so is what one caller brought about
            raise
        else:
            self._note_answer()
        finally:
            if tries:
                with self._lock:
                    self._trying = False

    def _enter(self) -> bool:
        """Whether this caller is the one that finds out if the service is back."""
        with self._lock:
            if not self._away:
                return False
            if self._trying or time.monotonic() < self._failed + PAUSE_SECONDS:
                raise Unavailable(f"{self._name} does not answer; try again")
            self._trying = True
            return True

    def _note_answer(self) -> None:
        with self._lock:
            self._answered, self._away = time.monotonic(), False

    def _in_time(self, call: Callable[[], T]) -> T:
        # In this request's context, for its id to be in the log.
        begun = self._calls.submit(contextvars.copy_context().run, call)
        try:
            return begun.result(self._seconds)
        except TooLate:
            begun.cancel()  # if it still stands in line
            logs.get(__name__).warning("no answer in time", of=self._name, seconds=self._seconds)
            raise Away(f"{self._name} does not answer; try again") from None
