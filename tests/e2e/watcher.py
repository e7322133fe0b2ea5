"""Which guests there are and run, as the libvirtds themselves tell it."""

from __future__ import annotations

import threading
from contextlib import suppress

import libvirt

from tests.integration.virt_fixtures import OwnLibvirtd


def guests(own: OwnLibvirtd) -> dict[str, tuple[int, int]]:
    """Each domain's state and number; a start gives a new number."""
    found = {}
    connection = libvirt.open(own.uri)
    try:
        for domain in connection.listAllDomains():
            with suppress(libvirt.libvirtError):  # it went away meanwhile
                found[domain.UUIDString()] = (domain.state()[0], domain.ID())
    finally:
        connection.close()
    return found


class Watcher:
    """Sees which guests run where, as the libvirtds tell it, until it is closed."""

    def __init__(self, *hosts: OwnLibvirtd) -> None:
        self._links = [libvirt.open(own.uri) for own in hosts]
        self.started: list[set[str]] = [set() for _ in hosts]
        self.doubled: set[str] = set()
        self.looks = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._end.wait(0.05):
            running = [self._running(link) for link in self._links]
            for now, ever in zip(running, self.started, strict=True):
                ever |= now
            self.doubled |= set.intersection(*running) if len(running) > 1 else set()
            self.looks += 1

    @staticmethod
    def _running(link: libvirt.virConnect) -> set[str]:
        found = link.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING)
        return {domain.UUIDString() for domain in found}

    def close(self) -> None:
        """Look no more."""
        self._end.set()
        self._thread.join(10)
        for link in self._links:
            link.close()
