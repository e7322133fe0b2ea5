"""Looks at the invariants all the while: at the tables, and at the hosts themselves."""

from __future__ import annotations

import threading
import time
import traceback
from collections.abc import Iterable

from sqlalchemy.exc import SQLAlchemyError

from app.errors import NovellaError
from tests.chaos import rows
from tests.chaos.fleet import Seen
from tests.chaos.rows import Placed
from tests.chaos.world import World

LOOK_SECONDS = 0.4
Guests = dict[str, list[Seen]]


class Watcher:
    """One thread; what it finds is counted once for each server, or host, that it concerns."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.doubled: dict[str, str] = {}
        self.leaked: dict[str, str] = {}
        self.overcommitted: dict[str, str] = {}
        self.failed: list[str] = []
        self.looks = 0
        self._seen: set[str] = set()
        self._taken: dict[tuple[str, str], int] = {}
        self._starting: dict[str, tuple[str, set[str]]] = {}
        self._before: Placed | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._loop, name="watcher", daemon=True)
        world.before_host_start = self.host_starts

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End after the present look."""
        self._ended.set()
        self._thread.join(60)

    def _loop(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            try:
                self.look()
            except (SQLAlchemyError, NovellaError):
                self._before = None  # the database is being struck
            except Exception:  # noqa: BLE001  (a watcher that is blind must be heard of)
                self.failed.append(traceback.format_exc())

    def look(self) -> None:
        """One look: tables, hosts, tables again; nothing is said of what changed in between."""
        before = self._before or self._read()
        self._note_what_was_taken(before)
        guests = self._guests()
        after = self._before = self._read()
        self._one_runs(guests)
        self._nothing_returns(before, guests, after)
        self._nothing_old_runs(guests)
        self._seen |= set(before.living)
        self.looks += 1

    def _read(self) -> Placed:
        with rows.snapshot(self.world.cloud.engine) as session:
            placed = rows.placed(session)
            self.overcommitted |= rows.overcommitted(session)
        for server_id in placed.crowded:
            self.doubled[server_id] = "two unfinished actions of one server"
        return placed

    def _guests(self) -> Guests:
        found = {host: self.world.fleet.guests(host) for host in self.world.hosts}
        return {host: guests for host, guests in found.items() if guests is not None}

    def _one_runs(self, guests: Guests) -> None:
        """Never two running guests of one server; looked at again, for one may just have moved."""
        places = _running(guests)
        for server_id, hosts in places.items():
            if len(hosts) < 2:
                continue
            again = {host: self.world.fleet.guests(host) or [] for host in hosts}
            if len(_running(again).get(server_id, [])) > 1:
                self.doubled[server_id] = f"{time.time():.1f}: runs on {', '.join(hosts)} at once"

    def _nothing_returns(self, before: Placed, guests: Guests, after: Placed) -> None:
        """What a host has confirmed to be absent stays absent there."""
        for host, seen in guests.items():
            for guest in seen:
                known = guest.server_id in self._seen
                place = (guest.server_id, host)
                if known and before.is_free(*place) and after.is_free(*place):
                    self.leaked.setdefault(
                        f"{guest.server_id} {host}",
                        f"{time.time():.1f}: {host} has {guest}, though the tables say that it "
                        f"confirmed its absence; the server is {after.living.get(guest.server_id)}",
                    )

    def host_starts(self, hosts: Iterable[str]) -> None:
        """A dead worker is about to start: what is on its hosts was there before."""
        try:
            sessions = self._read().sessions
        except (SQLAlchemyError, NovellaError):
            return  # the database is being struck
        for host in hosts:
            seen = self.world.fleet.guests(host)
            if seen is not None:
                there = {guest.server_id for guest in seen}
                self._starting[host] = (sessions[host], there)

    def _note_what_was_taken(self, before: Placed) -> None:
        """Until the tables know a worker's new session, whatever it builds is an old message's.

        What it owes by then was taken from it while it was dead.
        """
        for host, (session, there) in list(self._starting.items()):
            if before.sessions[host] != session:
                self._starting.pop(host, None)
                continue
            for (server_id, owing), fence in before.owed.items():
                if owing == host and server_id not in there:
                    self._taken[server_id, host] = fence

    def _nothing_old_runs(self, guests: Guests) -> None:
        """A worker that died and returned builds nothing that its old queue asked for."""
        for host, seen in guests.items():
            for guest in seen:
                taken = self._taken.get((guest.server_id, host))
                if taken is not None and guest.fence < taken:
                    self.doubled.setdefault(
                        f"{guest.server_id} {host}",
                        f"{time.time():.1f}: {host} built {guest} after its return, from a message "
                        f"of before: the server had been taken from it at fence {taken}",
                    )


def _running(guests: Guests) -> dict[str, list[str]]:
    places: dict[str, list[str]] = {}
    for host, seen in guests.items():
        for guest in seen:
            if guest.running:
                places.setdefault(guest.server_id, []).append(host)
    return places
