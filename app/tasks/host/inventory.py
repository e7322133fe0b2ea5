"""The host's inventory: posted at session start, on change, and every minute."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING

from celery import current_app

from app import logs
from app.domain.guest import CRASHED, SHUTDOWN, Inventory
from app.domain.message import DONE, Outcome
from app.errors import HostFault
from app.failpoints import Step
from app.tasks import board
from app.tasks.board import Entry, Posting
from app.topology import topology

if TYPE_CHECKING:
    from app.tasks.host.agent import Agent

log = logs.get(__name__)
RETRY_SECONDS = 2.0
POST = Step("inventory.post")


class InventoryPoster:
    """Posts one host's inventories, numbered within its session."""

    def __init__(self, agent: Agent) -> None:
        self.agent = agent
        self.generation = 0
        self.session = ""
        self._wake = threading.Event()
        self._events: dict[str, int] = {}
        self._to_restart = self._shut_off_by_restart()

    def wake(self) -> None:
        """Post soon."""
        self._wake.set()

    def guest_changed(self, server_id: str, event: str, power_state: int) -> None:
        """A guest's lifecycle event: its server may have to follow, unless a task caused it."""
        if self.agent.intake.tasks.is_running(server_id):
            self._events[server_id] = power_state
            return
        log.info("guest changed by itself", server_id=server_id, change=event)
        self._wake.set()

    def task_ended(self, server_id: str, outcome: Outcome | None) -> None:
        """Look again when the guest is not as the task's outcome says, or it may not be."""
        event = self._events.pop(server_id, None)
        told = outcome is not None and outcome.result == DONE
        if not told or (event is not None and outcome and event != outcome.power_state):
            self._wake.set()

    def loop(self) -> None:
        """Post until the agent ends."""
        while not self.agent.ended.is_set():
            self._wake.clear()
            try:
                self.post()
                wait = self.agent.settings.inventory_seconds
            except (HostFault, *board.AWAY) as error:
                log.warning("inventory not posted", host=self.agent.name, error=str(error))
                wait = RETRY_SECONDS
            self._wake.wait(wait)

    def post(self) -> None:
        """Look at the host, post what is there, and ring its reconciliation.

        Raises HostFault when the hypervisor does not answer, one of AWAY when Redis does not.
        """
        agent = self.agent
        session = agent.session.current()
        busy, before = agent.intake.tasks.servers(), agent.journal.fences()
        found = agent.driver.inventory()
        fences = agent.journal.fences()
        busy |= agent.intake.tasks.servers()
        busy |= {server_id for server_id in fences if fences[server_id] != before.get(server_id)}
        # What a dead worker left undone is yet to be done: the guest is as before that message,
        # so what it looks like is told at an older fence, at which it proves nothing.
        for server_id in agent.journal.unfinished() & set(fences):
            fences[server_id] -= 1
        self._forget_restarted(found)
        self.generation += 1
        with POST:
            board.post_inventory(self._posting(session, found, fences, busy))
        self.session = session
        agent.beat()
        queue = topology().queue("novella.reconcile")
        current_app.send_task("novella.reconcile", args=(agent.name,), queue=queue)

    def _posting(
        self, session: str, found: Inventory, fences: dict[str, int], busy: set[str]
    ) -> Posting:
        agent = self.agent
        guests = tuple(
            Entry(
                server_id=guest.server_id,
                fence=max(guest.fence, guest.applied, fences.get(guest.server_id, 0)),
                committed=guest.committed,
                power_state=guest.power_state,
                busy=guest.server_id in busy,
                restart=guest.server_id in self._to_restart,
            )
            for guest in found.guests
        )
        left = sorted({*found.disks, *found.dhcp})
        return Posting(
            host=agent.name,
            cloud_id=agent.cloud_id,
            host_uuid=agent.uuid,
            session=session,
            generation=self.generation,
            complete=found.complete,
            boot_id=found.boot_id,
            facts=self._facts(),
            guests=guests,
            leftovers=tuple((server_id, fences.get(server_id, 0)) for server_id in left),
            leases=found.leases,
        )

    def _facts(self) -> dict[str, object]:
        """The columns of the host's row."""
        facts = self.agent.facts
        if facts is None:
            return {}
        return {
            "hostname": facts.hostname,
            "address": facts.address,
            "vcpus": facts.vcpus,
            "ram_mb": facts.ram_mb,
            "disk_gb": facts.disk_gb,
            "hypervisor_type": facts.hypervisor_type,
            "hypervisor_version": facts.hypervisor_version,
            "cpu_model": facts.cpu_model,
            "booted_at": _booted_at(),
            "facts": facts.abilities(),
        }

    def _shut_off_by_restart(self) -> set[str]:
        """Guests that are off because the host went down, or `bin/down` stopped them."""
        agent = self.agent
        noted = set(json.loads(agent.journal.note("to_restart") or "[]"))
        found = agent.driver.inventory()
        if not found.complete:
            raise HostFault("the host's guests could not be listed", code="inventory_incomplete")
        mark = agent.directory / "stopping"
        boot = agent.journal.note("boot_id")
        if mark.exists() or (boot is not None and boot != found.boot_id):
            noted |= {g.server_id for g in found.guests if g.power_state == SHUTDOWN}
        agent.journal.set_note("to_restart", json.dumps(sorted(noted)))
        agent.journal.set_note("boot_id", found.boot_id)
        mark.unlink(missing_ok=True)
        return noted

    def _forget_restarted(self, found: Inventory) -> None:
        """A guest that runs again, or is gone, no longer waits for its restart."""
        if not found.complete:
            return
        off = {
            guest.server_id for guest in found.guests if guest.power_state in (SHUTDOWN, CRASHED)
        }
        if self._to_restart - off:
            self._to_restart &= off
            self.agent.journal.set_note("to_restart", json.dumps(sorted(self._to_restart)))


def _booted_at() -> float | None:
    """When this machine started, in seconds since the epoch: the kernel's own word."""
    with open("/proc/stat") as facts:
        found = [line.split()[1] for line in facts if line.startswith("btime ")]
    return float(found[0]) if found else None
