"""The driver contract: what the host agent asks of a hypervisor.

Every method may be called twice and from several threads, but never concurrently for one
server (the agent holds a lock per server). On failure it leaves the host as it was and raises
HostFault. Long steps call `report` and check `cancel`, and raise Cancelled when it is set.
Drivers are loaded by their dotted name (`module:Class`, the setting `driver`) and constructed
with (host name, cloud id, Settings).
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event
from typing import Protocol

from app.domain.guest import Diagnostics, Guest, HostFacts, Inventory
from app.domain.message import BuildPlan, ImageSource
from app.domain.networking import Networking

Report = Callable[[int, str], None]
"""Called with (percent 0-100, message) as a long step advances; never raises."""

Listener = Callable[[str, str, int], None]
"""Called on lifecycle events with (server id, "started"|"stopped"|"paused"|..., power state)."""


class Driver(Protocol):
    """See the module. All server ids are UUID strings of this cloud's servers."""

    def open(self) -> None:
        """Connect, under a deadline; prove `virt_type`. Raises HostFault when it cannot."""

    def close(self) -> None:
        """Let go of the connection; guests run on."""

    def healthy(self) -> bool:
        """Whether the hypervisor answers now (bounded, at most 5 s)."""

    def facts(self) -> HostFacts:
        """Identity and capacity, read from the hypervisor."""

    def inventory(self) -> Inventory:
        """Guests, disks and DHCP entries that bear our cloud id."""

    def listen(self, listener: Listener) -> None:
        """Call `listener` on each lifecycle event of our guests, from a driver thread."""

    def find(self, server_id: str) -> Guest | None:
        """Our guest of that server, or None."""

    def spawn(self, plan: BuildPlan, cancel: Event, report: Report) -> Guest:
        """Build the guest and leave it started and PAUSED, uncommitted, at `plan.fence`.

        A guest committed at this fence, or uncommitted, at this fence and paused, is returned
        as it is. One committed at another fence is never touched: HostFault
        code="old_copy", retriable. Anything else of ours and uncommitted is removed first.
        """

    def commit(self, server_id: str, fence: int) -> Guest:
        """Mark the guest committed (persistent and live) and let it run.

        paused → mark, resume; committed and shut off → start. Raises HostFault
        code="not_committed" when it is absent, or shut off and uncommitted.
        """

    def start(self, plan: BuildPlan, fence: int, own_disk: bool = False) -> Guest:
        """Run the committed guest of `plan.server_id`: no-op when running, unpause when paused.

        `applied` = `fence` is stored with the definition before it starts. A rescued guest boots
        from its rescue disk again, unless it is to have its `own_disk`.
        """

    def stop(self, server_id: str, fence: int, timeout: float, cancel: Event) -> Guest:
        """ACPI shutdown, and after `timeout` seconds a forced one. No-op when shut off."""

    def reboot(self, plan: BuildPlan, fence: int, hard: bool, cancel: Event) -> Guest:
        """Soft: ask the guest to reboot (hard when it does not within its time limit).

        Hard: destroy, define anew (`applied` = `fence`, from `plan`), start; a guest whose
        `applied` is already `fence` and which runs is returned as it is. Either way it boots from
        its own disk, even if it was rescued.
        """

    def pause(self, plan: BuildPlan, fence: int, restart: bool) -> Guest:
        """Let the guest's CPUs stand still. HostFault code="not_running" when it is off.

        With `restart` a guest that is off, because its host was, is brought back to be paused:
        with its memory where that was saved, else before its first instruction.
        """

    def unpause(self, server_id: str, fence: int) -> Guest:
        """Let a paused guest run. HostFault code="not_running" when it is off."""

    def suspend(self, server_id: str, fence: int, cancel: Event) -> Guest:
        """Save the guest's memory to disk and end it; it is SHUTDOWN then.

        HostFault code="not_running" when it is off and nothing was saved.
        """

    def wake(self, plan: BuildPlan, fence: int) -> Guest:
        """Run a suspended guest on from its saved memory; it boots when there is none."""

    def inject_nmi(self, server_id: str, fence: int) -> Guest:
        """Send the running guest's CPUs a non-maskable interrupt; once per fence.

        HostFault code="not_running" when it is off.
        """

    def set_password(self, server_id: str, fence: int, user: str, password: str) -> Guest:
        """Have the guest's agent set a user's password. HostFault code="no_agent"."""

    def rebuild(self, plan: BuildPlan, stay_off: bool, cancel: Event, report: Report) -> Guest:
        """Give the committed guest a new disk from the plan's image, at `plan.fence`.

        Its `fence` and `applied` are `plan.fence` then. It runs, unless it is to `stay_off`; a
        guest that was lost is made anew. HostFault code="half_done" when the new guest cannot run
        and the old one could not be put back, or an earlier, interrupted try has replaced it; then
        the disks of both stay. After any other failure the old one runs if it did before the first
        try, also if that one was interrupted when it had ended it: so after a rescue and an
        unrescue.
        """

    def rescue(self, plan: BuildPlan, cancel: Event, report: Report) -> Guest:
        """Run the guest from a disk of the plan's image, with its own as the second.

        Its `rescue` and `applied` are `plan.fence` then. HostFault code="half_done" as above.
        """

    def unrescue(self, plan: BuildPlan, fence: int) -> Guest:
        """Run the guest from its own disk again; the rescue disk goes."""

    def attach(self, plan: BuildPlan, fence: int, port_id: str) -> Guest:
        """Plug the plan's NIC of that port in, now and for good; no-op when it is there.

        HostFault code="half_done" when it failed and the NIC may be plugged in all the same.
        """

    def detach(self, plan: BuildPlan, fence: int, port_id: str, cancel: Event) -> Guest:
        """Take the plan's NIC of that port out; no-op when it is not there.

        HostFault code="not_let_go" when the running guest does not let it go in time.
        """

    def snapshot(self, server_id: str, fence: int, cancel: Event, report: Report) -> Path:
        """A qcow2 file that stands alone, with the guest's disk as it is at one moment.

        The guest goes on meanwhile. Repeated at its fence it may be the same file;
        `discard_snapshot` removes it, and so does `destroy`.
        """

    def discard_snapshot(self, server_id: str, fence: int) -> None:
        """Remove what a snapshot at this fence has left; no-op when there is nothing."""

    def destroy(self, server_id: str, fence: int) -> None:
        """Remove guest, disks, config drive, DHCP entry and console log, of fences ≤ `fence`.

        Never a graceful shutdown. No-op when there is nothing. A guest at a higher fence is
        left alone: HostFault code="newer_fence", not retriable.
        """

    def cache_image(self, image: ImageSource, cancel: Event, report: Report) -> None:
        """Have the image in the host's cache, verified, as a build would; no-op when it is there.

        Raises what a build's download raises.
        """

    def secure(self, state: Networking) -> None:
        """Put the host's networking into force, for guests that run too, and remember it.

        Of what a build's plan told later than `state` was read, the plan's word stands.
        """

    def tidy(self) -> None:
        """Free what nobody uses any more, a bounded piece of it; called every minute or so."""

    def has_agent(self, server_id: str) -> bool:
        """Whether the running guest's agent answers now (at most 3 s)."""

    def diagnostics(self, server_id: str) -> Diagnostics:
        """What the running guest uses. HostFault code="not_running" when it is off."""

    def console_log(self, server_id: str, lines: int | None) -> str:
        """The last `lines` lines (all, at most 100 KiB, when None) of the serial console."""
