"""The connection to libvirtd: opened under a deadline, kept alive, reopened when it was lost."""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

import libvirt

from app.errors import Cancelled, HostFault

logger = logging.getLogger(__name__)

OPEN_SECONDS = 5.0
RETRY_SECONDS = 30.0
RETRY_PAUSE = 0.5
CALL_SECONDS = 60.0
KEEPALIVE_INTERVAL, KEEPALIVE_COUNT = 5, 3

Result = TypeVar("Result")
Link = Any
"""A libvirt.virConnect."""

_AWAY = {
    libvirt.VIR_ERR_NO_CONNECT,
    libvirt.VIR_ERR_INVALID_CONN,
    libvirt.VIR_ERR_RPC,
    libvirt.VIR_ERR_SYSTEM_ERROR,
    libvirt.VIR_ERR_INTERNAL_ERROR,
    libvirt.VIR_ERR_AUTH_UNAVAILABLE,
}
_loop_lock = threading.Lock()
_loop: threading.Thread | None = None


class Connection:
    """One libvirt connection for all threads of a process; nothing is opened before `get`."""

    def __init__(self, uri: str) -> None:
        self.uri = uri
        self._lock = threading.Lock()
        self._link: Link | None = None
        self._opening: _Opening | None = None
        self._closed = False
        self._lost = threading.Event()
        self._keeper: threading.Thread | None = None
        self._hooks: list[Callable[[Link], None]] = []

    def on_open(self, hook: Callable[[Link], None]) -> None:
        """Call `hook` with each new connection, before it is used; and now with one that is."""
        self._hooks.append(hook)
        with self._lock:
            if self._link is not None and _alive(self._link):
                with translated("open"):
                    hook(self._link)

    def get(self, timeout: float = OPEN_SECONDS) -> Link:
        """The live connection, opened anew if need be within `timeout` seconds.

        Raises HostFault code="hypervisor_away" when libvirtd does not answer in that time.
        """
        if not self._lock.acquire(timeout=timeout):
            raise HostFault(f"cannot reach {self.uri}: no answer yet", code="hypervisor_away")
        try:
            if self._closed:
                raise HostFault("the connection was closed", code="hypervisor_away")
            if self._link is None or not _alive(self._link):
                self._link = None
                link = self._open(timeout)
                with translated("open"):
                    for hook in self._hooks:
                        hook(link)
                self._link = link
                self._keep()
            return self._link
        finally:
            self._lock.release()

    def run(
        self,
        step: str,
        operation: Callable[[Link], Result],
        server_id: str = "",
        cancel: threading.Event | None = None,
        seconds: float = CALL_SECONDS,
    ) -> Result:
        """`operation` on a live connection, again when libvirtd goes away under it.

        It must be safe to repeat. Gives up after RETRY_SECONDS, or when `cancel` is set.
        Raises HostFault, "too_slow" when libvirtd lives but does not answer in `seconds`;
        Cancelled.
        """
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            try:
                link = self.get()
                with translated(step, server_id):
                    return _within(seconds, step, server_id, partial(operation, link))
            except HostFault as fault:
                if fault.code != "hypervisor_away" or time.monotonic() > deadline or self._closed:
                    raise
                logger.warning("libvirtd is away, trying again: %s", fault.message)
            if cancel is not None and cancel.is_set():
                raise Cancelled(f"{step} of {server_id} cancelled while libvirtd was away")
            (cancel.wait if cancel is not None else time.sleep)(RETRY_PAUSE)

    def answers(self, timeout: float) -> bool:
        """Whether libvirtd answers a call within `timeout` seconds."""
        answered = threading.Event()

        def ask() -> None:
            try:
                self.get(timeout).getLibVersion()
                answered.set()
            except (HostFault, libvirt.libvirtError) as error:
                logger.info("libvirtd does not answer: %s", error)

        thread = threading.Thread(target=ask, name="libvirt-ask", daemon=True)
        thread.start()
        thread.join(timeout)
        return answered.is_set()

    def close(self) -> None:
        """Close for good; guests run on."""
        self._closed = True
        self._lost.set()
        with self._lock:
            link, self._link = self._link, None
        if link is not None:
            try:
                link.close()
            except libvirt.libvirtError as error:
                logger.debug("closing: %s", error)

    def _open(self, timeout: float) -> Link:
        """Wait for a connection that is being opened; a hung open is waited for, not repeated."""
        start_event_loop()
        if self._opening is None or self._opening.finished:
            self._opening = _Opening(self.uri)
        link, error = self._opening.wait(timeout)
        if link is None:
            reason = error or f"no answer within {timeout:.0f} s"
            raise HostFault(f"cannot reach {self.uri}: {reason}", code="hypervisor_away")
        self._opening = None
        with translated("open"):
            try:
                link.setKeepAlive(KEEPALIVE_INTERVAL, KEEPALIVE_COUNT)
            except libvirt.libvirtError as failure:
                if failure.get_error_code() != libvirt.VIR_ERR_NO_SUPPORT:
                    raise
            link.registerCloseCallback(self._on_close, None)
        return link

    def _on_close(self, link: Link, reason: int, opaque: Any) -> None:
        if not self._closed:
            logger.warning("libvirtd closed the connection (reason %d)", reason)
        self._lost.set()

    def _keep(self) -> None:
        """Reopen in the background after a loss, so that lifecycle events are heard again."""
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._reopen, name="libvirt-keep", daemon=True)
            self._keeper.start()

    def _reopen(self) -> None:
        while not self._closed:
            self._lost.wait()
            self._lost.clear()
            while not self._closed:
                try:
                    self.get()
                    break
                except HostFault:
                    time.sleep(1)


class _Opening:
    """`libvirt.open` in a thread: to a hung daemon it blocks for ever, and cannot be stopped."""

    def __init__(self, uri: str) -> None:
        self._done = threading.Event()
        self._link: Link | None = None
        self._error: str = ""
        thread = threading.Thread(target=self._run, args=(uri,), name="libvirt-open", daemon=True)
        thread.start()

    @property
    def finished(self) -> bool:
        return self._done.is_set() and self._link is None

    def wait(self, timeout: float) -> tuple[Link | None, str]:
        self._done.wait(timeout)
        return self._link, self._error

    def _run(self, uri: str) -> None:
        try:
            self._link = libvirt.open(uri)
        except libvirt.libvirtError as error:
            self._error = str(error)
        self._done.set()


def _within(seconds: float, step: str, server_id: str, call: Callable[[], Result]) -> Result:
    """`call` in a thread of its own: keepalive ends calls to a dead libvirtd, but not one that a
    live libvirtd cannot finish, such as a question to a stopped QEMU. That thread stays behind.
    """
    answer: Future[Result] = Future()

    def work() -> None:
        try:
            answer.set_result(call())
        except BaseException as error:  # noqa: BLE001  (raised again below)
            answer.set_exception(error)

    threading.Thread(target=work, name="libvirt-call", daemon=True).start()
    try:
        return answer.result(seconds)
    except TimeoutError:
        if answer.done():
            raise
        message = f"{_where(step, server_id)}: libvirtd did not finish within {seconds:.0f} s"
        raise HostFault(message, code="too_slow") from None


@contextmanager
def translated(step: str, server_id: str = "") -> Iterator[None]:
    """Turn libvirt's and the file system's errors into HostFaults that name step and server."""
    try:
        yield
    except libvirt.libvirtError as error:
        raise _fault(step, server_id, error) from error
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        code = "disk_full" if full else "host_io"
        raise HostFault(f"{_where(step, server_id)}: {error}", code=code) from error


def start_event_loop() -> None:
    """Run libvirt's event loop in one daemon thread of this process; idempotent."""
    global _loop
    with _loop_lock:
        if _loop is None:
            libvirt.virEventRegisterDefaultImpl()
            libvirt.registerErrorHandler(_silent, None)
            _loop = threading.Thread(target=_run_events, name="libvirt-events", daemon=True)
            _loop.start()


def _run_events() -> None:
    while True:
        if libvirt.virEventRunDefaultImpl() < 0:
            time.sleep(0.1)


def _silent(_context: Any, _error: Any) -> None:
    """libvirt prints each error to stderr unless told otherwise; we raise them."""


def _alive(link: Link) -> bool:
    try:
        return bool(link.isAlive())
    except libvirt.libvirtError:
        return False


def _fault(step: str, server_id: str, error: libvirt.libvirtError) -> HostFault:
    message = f"{_where(step, server_id)}: {error.get_error_message() or error}"
    if is_away(error):
        return HostFault(message, code="hypervisor_away")
    return HostFault(message, code="hypervisor_refused")


def is_away(error: libvirt.libvirtError) -> bool:
    """Whether the connection failed rather than the call."""
    transport = error.get_error_domain() in (libvirt.VIR_FROM_RPC, libvirt.VIR_FROM_REMOTE)
    return transport and error.get_error_code() in _AWAY


def _where(step: str, server_id: str) -> str:
    return f"{step} of server {server_id}" if server_id else step
