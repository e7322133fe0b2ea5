"""What a fake hypervisor holds, kept in one small JSON file so that it outlives its worker."""

from __future__ import annotations

import json
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

_locks: dict[Path, threading.Lock] = {}
_locks_lock = threading.Lock()


@dataclass
class FakeGuest:
    """One guest; `power_state` is Nova's number; `saved`: off with its memory on disk.

    `ended` is the fence of the request that has ended it to boot it from something else.
    """

    cloud_id: str
    server_id: str
    fence: int
    power_state: int
    committed: bool = False
    applied: int = 0
    reboots: int = 0
    log: str = ""
    saved: bool = False
    nmis: int = 0
    rescue: int = 0
    ended: int = 0


@dataclass
class FakeState:
    """All guests by server id; disks and DHCP entries as `cloud id/server id` to fence.

    `leases` has each such server's entries as [MAC, address]; `networking` what each cloud told,
    `images` the checksums of what was cached ahead of builds.
    """

    boot_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    guests: dict[str, FakeGuest] = field(default_factory=dict)
    disks: dict[str, int] = field(default_factory=dict)
    dhcp: dict[str, int] = field(default_factory=dict)
    leases: dict[str, list[list[str]]] = field(default_factory=dict)
    networking: dict[str, dict[str, Any]] = field(default_factory=dict)
    images: dict[str, str] = field(default_factory=dict)

    def leases_of(self, cloud_id: str) -> tuple[tuple[str, str, str], ...]:
        """The DHCP entries of one cloud's servers: (server id, MAC, address)."""
        named = [(key.rpartition("/"), entries) for key, entries in list(self.leases.items())]
        return tuple(
            (server_id, mac, address)
            for (cloud, _, server_id), entries in named
            if cloud == cloud_id
            for mac, address in entries
        )


class FakeHost:
    """The state file of one fake hypervisor, shared by all drivers on it, whatever their cloud."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with _locks_lock:
            self._lock = _locks.setdefault(path, threading.Lock())
        self._seen: tuple[int, int, int] | None = None
        self._state = FakeState()

    def read(self) -> FakeState:
        """The state now; a private copy of nothing, so do not change it."""
        with self._lock:
            return self._load()

    @contextmanager
    def change(self) -> Iterator[FakeState]:
        """The state, to be changed; it is in the file when the block ends without an error."""
        with self._lock:
            state = self._load()
            try:
                yield state
            except BaseException:
                self._seen = None
                raise
            self._store()

    def _load(self) -> FakeState:
        seen = self._stamp()
        if seen is None or seen != self._seen:
            self._state = _parse(json.loads(self.path.read_text())) if seen else FakeState()
            self._seen = seen
            if seen is None:
                self._store()
        return self._state

    def _store(self) -> None:
        """Write a new file and rename it: a kill -9 leaves the old one or the new one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_name(f".{self.path.name}.{os.getpid()}.{threading.get_ident()}")
        temporary.write_text(json.dumps(asdict(self._state)))
        temporary.rename(self.path)
        self._seen = self._stamp()

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            status = self.path.stat()
        except FileNotFoundError:
            return None
        return status.st_ino, status.st_mtime_ns, status.st_size


def _parse(data: dict[str, Any]) -> FakeState:
    guests = {name: FakeGuest(**guest) for name, guest in data["guests"].items()}
    leases = data.get("leases", {})  # a file of before there were any
    networking, images = data.get("networking", {}), data.get("images", {})
    disks, dhcp = data["disks"], data["dhcp"]
    return FakeState(data["boot_id"], guests, disks, dhcp, leases, networking, images)
