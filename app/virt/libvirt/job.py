"""A long job on a domain, which ends when whoever asked for it no longer wants it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Event
from typing import Any

import libvirt

from app.errors import Cancelled

POLL_SECONDS = 0.2


@contextmanager
def aborting(domain: Any, cancel: Event) -> Iterator[None]:
    """Abort the domain's job when `cancel` is set during the block, and raise Cancelled."""
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(POLL_SECONDS):
            if cancel.is_set():
                with suppress(libvirt.libvirtError):
                    domain.abortJob()

    threading.Thread(target=watch, name="job-watch", daemon=True).start()
    try:
        yield
    except libvirt.libvirtError as error:
        if cancel.is_set() and error.get_error_code() == libvirt.VIR_ERR_OPERATION_ABORTED:
            raise Cancelled(f"a job on {domain.name()} was cancelled") from error
        raise
    finally:
        ended.set()
