"""What a fake hypervisor does to guests that are there already."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from app.domain.guest import CRASHED, PAUSED, RUNNING, SHUTDOWN, Diagnostics, DiskUse, Guest, NicUse
from app.domain.message import BuildPlan
from app.errors import Cancelled, HostFault
from app.virt.driver import Report
from app.virt.fake_guests import FakeGuests, shown
from app.virt.fake_host import FakeGuest

MIB = 1 << 20
_OFF = (SHUTDOWN, CRASHED)
EMPTY_QCOW2 = struct.pack(
    ">4sIQIIQIIQQIIQQQQII", b"QFI\xfb", 3, 0, 0, 16, MIB, 0, 1, 3 << 16, 1 << 16, 1, 0, 0, 0, 0, 0,
    4, 104,
).ljust(4 << 16, b"\0")  # fmt: skip
"""A disk of 1 MiB without data, as far as its header tells."""


class FakeOperations(FakeGuests):
    """The contract's operations in place; each is done at once."""

    def pause(self, plan: BuildPlan, fence: int, restart: bool) -> Guest:
        """See the contract."""
        self._faults.check("pause")
        return self._stands(plan.server_id, fence, PAUSED, "paused", off_will_do=restart)

    def unpause(self, server_id: str, fence: int) -> Guest:
        """See the contract."""
        self._faults.check("unpause")
        return self._stands(server_id, fence, RUNNING, "resumed")

    def suspend(self, server_id: str, fence: int, cancel: Event) -> Guest:
        """See the contract."""
        self._faults.check("suspend")
        with self._host.change() as state:
            guest = self._committed(state, server_id, fence)
            changed = not guest.saved
            if changed:
                _check_runs(guest)
            guest.applied, guest.power_state, guest.saved = fence, SHUTDOWN, True
        if changed:
            self._tell(server_id, "stopped", SHUTDOWN)
        return shown(guest)

    def wake(self, plan: BuildPlan, fence: int) -> Guest:
        """See the contract."""
        self._faults.check("wake")
        return self._stands(plan.server_id, fence, RUNNING, "started", off_will_do=True)

    def inject_nmi(self, server_id: str, fence: int) -> Guest:
        """See the contract; `nmis` in the state file counts them."""
        self._faults.check("inject_nmi")
        with self._host.change() as state:
            guest = self._committed(state, server_id, fence)
            if guest.applied == fence:
                return shown(guest)
            _check_runs(guest)
            guest.applied = fence
            guest.nmis += 1
        return shown(guest)

    def set_password(self, server_id: str, fence: int, user: str, password: str) -> Guest:
        """See the contract; the password goes nowhere."""
        self._faults.check("set_password")
        with self._host.change() as state:
            guest = self._committed(state, server_id, fence)
            _check_runs(guest)
            guest.applied = fence
        return shown(guest)

    def rebuild(self, plan: BuildPlan, stay_off: bool, cancel: Event, report: Report) -> Guest:
        """See the contract; takes `fake_delay` seconds, and ends at once when cancelled."""
        with self._old_one_back(plan.server_id, plan.fence):
            self._faults.check("rebuild")
            self._pass_time(plan.server_id, cancel, report)
            self._end(plan.server_id, plan.fence)
        with self._host.change() as state:
            if self._find(state, plan.server_id) is None:
                lost = FakeGuest(self.cloud_id, plan.server_id, 0, SHUTDOWN, committed=True)
                state.guests[plan.server_id] = lost
            guest = self._committed(state, plan.server_id, plan.fence)
            guest.fence = guest.applied = plan.fence
            guest.power_state = SHUTDOWN if stay_off else RUNNING
            guest.rescue, guest.saved, guest.ended = 0, False, 0
            key = self._key(plan.server_id)
            state.disks[key] = state.dhcp[key] = plan.fence
            state.leases[key] = [[nic.mac, nic.address] for nic in plan.nics]
        self._tell(plan.server_id, "stopped" if stay_off else "started", guest.power_state)
        return shown(guest)

    def rescue(self, plan: BuildPlan, cancel: Event, report: Report) -> Guest:
        """See the contract; takes `fake_delay` seconds, and ends at once when cancelled."""
        with self._old_one_back(plan.server_id, plan.fence):
            self._faults.check("rescue")
            self._pass_time(plan.server_id, cancel, report)
            self._end(plan.server_id, plan.fence)
        return self._boots(plan, plan.fence, plan.fence)

    def unrescue(self, plan: BuildPlan, fence: int) -> Guest:
        """See the contract."""
        with self._old_one_back(plan.server_id, fence):
            self._faults.check("unrescue")
            self._end(plan.server_id, fence)
        return self._boots(plan, fence, 0)

    def _boots(self, plan: BuildPlan, fence: int, rescue: int) -> Guest:
        with self._host.change() as state:
            guest = self._committed(state, plan.server_id, fence)
            guest.applied, guest.rescue = fence, rescue
            guest.power_state, guest.saved, guest.ended = RUNNING, False, 0
        self._tell(plan.server_id, "started", RUNNING)
        return shown(guest)

    def _end(self, server_id: str, fence: int) -> None:
        """End a guest that is to boot from something else, marked as one that ran."""
        with self._host.change() as state:
            if self._find(state, server_id) is None:
                return
            guest = self._committed(state, server_id, fence)
            if guest.applied != fence and guest.power_state not in _OFF:
                guest.power_state, guest.ended = SHUTDOWN, fence

    @contextmanager
    def _old_one_back(self, server_id: str, fence: int) -> Iterator[None]:
        """A guest that an earlier try at `fence` ended runs again when this one fails."""
        try:
            yield
        except (HostFault, Cancelled):
            with self._host.change() as state:
                guest = self._find(state, server_id)
                ended = guest is not None and (guest.ended, guest.power_state) == (fence, SHUTDOWN)
                if guest is not None and ended and guest.applied < fence:
                    guest.power_state, guest.ended = RUNNING, 0
            raise

    def _pass_time(self, server_id: str, cancel: Event, report: Report) -> None:
        for percent in range(0, 100, 20):
            report(percent, "pretending")
            if cancel.wait(self._delay / 5) if self._delay else cancel.is_set():
                raise Cancelled(f"work on server {server_id} cancelled")

    def attach(self, plan: BuildPlan, fence: int, port_id: str) -> Guest:
        """See the contract."""
        self._faults.check("attach")
        return self._plugged(plan, fence, [(nic.mac, nic.address) for nic in plan.nics])

    def detach(self, plan: BuildPlan, fence: int, port_id: str, cancel: Event) -> Guest:
        """See the contract."""
        self._faults.check("detach")
        rest = [(nic.mac, nic.address) for nic in plan.nics if nic.port_id != port_id]
        return self._plugged(plan, fence, rest)

    def _plugged(self, plan: BuildPlan, fence: int, leases: list[tuple[str, str]]) -> Guest:
        with self._host.change() as state:
            guest = self._committed(state, plan.server_id, fence)
            guest.applied = fence
            state.leases[self._key(plan.server_id)] = [list(lease) for lease in leases]
        return shown(guest)

    def snapshot(self, server_id: str, fence: int, cancel: Event, report: Report) -> Path:
        """See the contract: an empty disk of 1 MiB; takes `fake_delay` seconds."""
        self._faults.check("snapshot")
        self._committed(self._host.read(), server_id, fence)
        self._pass_time(server_id, cancel, report)
        path = self._snapshot(server_id, fence)
        path.write_bytes(EMPTY_QCOW2)
        return path

    def discard_snapshot(self, server_id: str, fence: int) -> None:
        """See the contract."""
        self._snapshot(server_id, fence).unlink(missing_ok=True)

    def _snapshot(self, server_id: str, fence: int) -> Path:
        return self._host.path.with_name(f"snapshot-{server_id}-{fence}.qcow2")

    def has_agent(self, server_id: str) -> bool:
        """True, unless a fault is due."""
        try:
            self._faults.check("has_agent")
        except HostFault:
            return False
        return True

    def diagnostics(self, server_id: str) -> Diagnostics:
        """See the contract: one idle CPU, one disk, and the interfaces that it has."""
        self._faults.check("diagnostics")
        state = self._host.read()
        guest = self._find(state, server_id)
        if guest is None:
            raise HostFault(f"no guest of {server_id} here", code="no_guest", retriable=False)
        _check_runs(guest)
        leases = state.leases.get(self._key(server_id), [])
        return Diagnostics(
            driver="fake",
            hypervisor="fake",
            power_state=guest.power_state,
            cpu_times=(0,),
            memory_mb=0,
            memory_used_mb=0,
            disks=(DiskUse("vda", 0, 0, 0, 0, 0),),
            nics=tuple(NicUse(f"vnet{n}", mac, *[0] * 8) for n, (mac, _) in enumerate(leases)),
        )

    def _stands(
        self, server_id: str, fence: int, power_state: int, event: str, off_will_do: bool = False
    ) -> Guest:
        with self._host.change() as state:
            guest = self._committed(state, server_id, fence)
            if not off_will_do:
                _check_runs(guest)
            changed = guest.power_state != power_state
            guest.applied, guest.power_state, guest.saved = fence, power_state, False
        if changed:
            self._tell(server_id, event, power_state)
        return shown(guest)


def _check_runs(guest: FakeGuest) -> None:
    if guest.power_state in _OFF:
        message = f"the guest of server {guest.server_id} is off"
        raise HostFault(message, code="not_running", retriable=False)
