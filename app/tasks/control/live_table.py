"""All hosts in this process's memory, brought up to date by what changed since the last look.

Every process that chooses has its own: what another claims meanwhile shows at the next look, and
until then costs a lost race, never an over-commit, for the claim is the judge. What this process
chose itself, and what is not claimed yet, it assumes to be taken: or all requests of a burst would
choose the few best hosts, and all but those that these have room for choose again and again.
"""

from __future__ import annotations

import functools
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable

from sqlalchemy.orm import Session

from app.domain.resources import Resources
from app.models import Action, Host, Server
from app.scheduler.host_table import HostTable
from app.scheduler.rows import HostRow
from app.store import actions, hosts
from app.store.database import reading
from app.tasks import messages
from app.tasks.control.aggregates import aggregates_of

WHOLE_SECONDS = 300.0
"""After so long everything is read anew, whatever the marks say: a database that was put back
under a running process would have others."""
ASSUMED = 5000
"""Servers whose choice is remembered at most; the oldest are forgotten first."""


class LiveTable:
    """The table between decisions; `copy` gives one that can be taken from."""

    def __init__(self, seconds: Callable[[], float] = time.monotonic) -> None:
        self._lock = threading.Lock()
        self._seconds = seconds
        self._table = HostTable()
        self._mark = 0
        self._forgotten = 0
        self._aggregates = -1
        self._whole_at: float | None = None
        self._assumed: dict[str, tuple[str, Resources]] = {}

    def copy(self, session: Session, *, assuming: bool = False) -> HostTable:
        """All hosts as they are now, with the builds that `session` sees in flight.

        `assuming` that what was chosen here and still waits for its claim gets it: good for a
        choice, and no reason to refuse one.
        """
        with self._lock, reading() as look:
            assumed = self._still_assumed(look) if assuming else Counter()
            self._refresh(look)
            table = self._table.copy()
        table.set_building(hosts.building(session))
        for (name, wanted), number in assumed.items():
            if (position := table.index.get(name)) is not None:
                table.take(position, wanted, number)
        return table

    def assume(self, chosen: Iterable[tuple[Action, Server]]) -> None:
        """Count these as taken, each on the first host of its selection, until they are claimed."""
        with self._lock:
            for action, server in chosen:
                if action.selection:
                    wanted = Resources(server.vcpus, server.ram_mb, server.disk_gb)
                    self._assumed[action.id] = (action.selection[0], wanted)
            for old in [*self._assumed][:-ASSUMED]:
                del self._assumed[old]

    def _still_assumed(self, session: Session) -> Counter[tuple[str, Resources]]:
        # Before the hosts are looked at: what is claimed in between counts twice, not never.
        if self._assumed:
            waiting = actions.at_stage(session, "claim", list(self._assumed))
            self._assumed = {one: self._assumed[one] for one in self._assumed if one in waiting}
        return Counter(self._assumed.values())

    def _refresh(self, session: Session) -> None:
        now = self._seconds()
        stale = self._whole_at is None or now - self._whole_at > WHOLE_SECONDS
        found = hosts.changes_since(session, 0 if stale else self._mark)
        known = self._table.index
        if not stale and (
            found.forgotten != self._forgotten or any(one.name not in known for one in found.hosts)
        ):
            stale, found = True, hosts.changes_since(session, 0)
        # All is read before anything is kept: what fails half-way is looked for again.
        rows = [row(host, usable(host)) for host in found.hosts]
        regrouped = stale or found.aggregates_revision != self._aggregates
        aggregates = aggregates_of(session) if regrouped else None
        table = HostTable(rows) if stale else self._table
        if not stale:
            for one in rows:
                table.put(known[one.name], one)
        if aggregates is not None:
            table.set_aggregates(aggregates)
        self._table, self._whole_at = table, now if stale else self._whole_at
        self._mark, self._forgotten = found.mark, found.forgotten
        self._aggregates = found.aggregates_revision


@functools.cache
def live_table() -> LiveTable:
    """The process's table."""
    return LiveTable()


def usable(host: Host) -> bool:
    """Whether new servers may be placed there, and its worker guards what it builds."""
    return hosts.usable(host) and messages.guards(host)


def row(host: Host, usable: bool) -> HostRow:
    """The scheduler's row of a host."""
    return HostRow(
        name=host.name,
        total=Resources(host.vcpus, host.ram_mb, host.disk_gb),
        used=Resources(host.used_vcpus, host.used_ram_mb, host.used_disk_gb),
        zone=host.zone,
        usable=usable,
        reserved_ram_mb=host.reserved_ram_mb,
        cpu_ratio=host.cpu_ratio,
        ram_ratio=host.ram_ratio,
        disk_ratio=host.disk_ratio,
        servers=host.servers,
        failed_builds=host.failed_builds,
        address=host.address,
        hostname=host.hostname,
        hypervisor_type=host.hypervisor_type,
        hypervisor_version=host.hypervisor_version,
        facts=host.facts,
    )
