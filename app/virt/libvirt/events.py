"""Lifecycle events of our guests, handed to listeners from a thread of ours."""

from __future__ import annotations

import logging
import queue
import threading
from typing import Any

import libvirt

from app.domain.guest import CRASHED, PAUSED, RUNNING, SHUTDOWN, SUSPENDED
from app.errors import HostFault
from app.virt.driver import Listener
from app.virt.libvirt.connection import Connection, Link
from app.virt.libvirt.guest import Guests
from app.virt.libvirt.names import domain_prefix

logger = logging.getLogger(__name__)

_EVENTS = {
    libvirt.VIR_DOMAIN_EVENT_STARTED: ("started", RUNNING),
    libvirt.VIR_DOMAIN_EVENT_SUSPENDED: ("paused", PAUSED),
    libvirt.VIR_DOMAIN_EVENT_RESUMED: ("resumed", RUNNING),
    libvirt.VIR_DOMAIN_EVENT_STOPPED: ("stopped", SHUTDOWN),
    libvirt.VIR_DOMAIN_EVENT_PMSUSPENDED: ("suspended", SUSPENDED),
    libvirt.VIR_DOMAIN_EVENT_CRASHED: ("crashed", CRASHED),
}


LOOK_SECONDS = 3.0
"""How long after a reconnection the guests are looked at: libvirtd finds its own first."""


class Events:
    """Registered anew with each connection, so that a restarted libvirtd is heard again.

    What happened to a guest between the connections has no event: some seconds after a
    reconnection listeners hear of each guest as ("found", its power state).
    """

    def __init__(self, connection: Connection, cloud_id: str) -> None:
        self._prefix = domain_prefix(cloud_id)
        self._connection = connection
        self._guests = Guests(connection, cloud_id)
        self._registered = False
        self._listeners: list[Listener] = []
        self._queue: queue.SimpleQueue[tuple[str, str, int] | None] = queue.SimpleQueue()

    def listen(self, listener: Listener) -> None:
        """Call `listener` on each event of our guests."""
        self._listeners.append(listener)
        if len(self._listeners) == 1:
            threading.Thread(target=self._deliver, name="virt-events", daemon=True).start()
            self._connection.on_open(self._register)

    def close(self) -> None:
        """End the delivery."""
        self._queue.put(None)

    def _register(self, link: Link) -> None:
        kind = libvirt.VIR_DOMAIN_EVENT_ID_LIFECYCLE
        link.domainEventRegisterAny(None, kind, self._on_event, None)
        if self._registered:
            timer = threading.Timer(LOOK_SECONDS, self._look)
            timer.daemon = True
            timer.start()
        self._registered = True

    def _look(self) -> None:
        try:
            for guest in self._guests.all():
                self._queue.put((guest.server_id, "found", guest.power_state))
        except HostFault as fault:
            logger.info("cannot look at the guests: %s", fault.message)

    def _on_event(self, link: Link, domain: Any, event: int, detail: int, opaque: Any) -> None:
        """Runs in libvirt's event loop, on which all calls depend: only look, and queue."""
        known = _EVENTS.get(event)
        name = domain.name()
        if known is not None and name.startswith(self._prefix):
            self._queue.put((name[len(self._prefix) :], *known))

    def _deliver(self) -> None:
        while (event := self._queue.get()) is not None:
            for listener in self._listeners:
                try:
                    listener(*event)
                except Exception:  # a listener's bug must not end all events
                    logger.exception("listener failed on %s", event)
