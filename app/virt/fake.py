"""A hypervisor made of nothing: for fleets in one process, and for tests.

It keeps the driver contract as libvirt does, in memory and in `hosts/<host>/fake.json`, so that
its guests survive a worker's kill -9. Knobs: `fake_delay`, the seconds that a build takes, and
`fake_faults` (see `app.virt.faults`).
"""

from __future__ import annotations

import uuid
from contextlib import ExitStack
from dataclasses import asdict
from threading import Event

from app.domain.guest import (
    CRASHED,
    PAUSED,
    RUNNING,
    SHUTDOWN,
    Guest,
    HostFacts,
    Inventory,
)
from app.domain.message import BuildPlan, ImageSource
from app.domain.networking import Networking
from app.errors import Cancelled, HostFault
from app.virt.driver import Listener, Report
from app.virt.fake_guests import check_fence, newer, shown
from app.virt.fake_host import FakeGuest
from app.virt.fake_operations import FakeOperations

VCPUS, RAM_MB, DISK_GB = 64, 256 * 1024, 2048
_NAMESPACE = uuid.UUID("6ba7b810-9dad-11d1-80b4-00c04fd430c8")
_STEPS = ("image", "disk", "config drive", "network", "guest")


class FakeDriver(FakeOperations):
    """The driver contract over a JSON file; every call is quick but a `spawn` with a delay."""

    def open(self) -> None:
        """See the contract."""
        self._faults.check("open")
        self._host.read()

    def close(self) -> None:
        """See the contract."""
        self._listeners.clear()

    def healthy(self) -> bool:
        """True, unless a fault is due."""
        try:
            self._faults.check("healthy")
        except HostFault:
            return False
        return True

    def facts(self) -> HostFacts:
        """A big host whose uuid follows from its name."""
        self._faults.check("facts")
        return HostFacts(
            uuid=str(uuid.uuid5(_NAMESPACE, f"{self.host_name}.fake.novella")),
            hostname=self.host_name,
            address=self._address,
            vcpus=VCPUS,
            ram_mb=RAM_MB,
            disk_gb=DISK_GB,
            hypervisor_type="fake",
            hypervisor_version=1000000,
            cpu_model="fake",
            virt_type="fake",
            supported=(("x86_64", "fake", "hvm"), ("x86_64", "qemu", "hvm")),
            traits=tuple(self._traits),
            cpu={"arch": "x86_64", "vendor": "fake", "model": "fake"},
        )

    def inventory(self) -> Inventory:
        """See the contract."""
        self._faults.check("inventory")
        state = self._host.read()
        return Inventory(
            guests=tuple(shown(one) for one in list(state.guests.values()) if self._ours(one)),
            disks=self._names(state.disks),
            dhcp=self._names(state.dhcp),
            boot_id=state.boot_id,
            leases=state.leases_of(self.cloud_id),
        )

    def listen(self, listener: Listener) -> None:
        """See the contract."""
        self._listeners.append(listener)

    def find(self, server_id: str) -> Guest | None:
        """See the contract."""
        found = self._find(self._host.read(), server_id)
        return shown(found) if found else None

    def spawn(self, plan: BuildPlan, cancel: Event, report: Report) -> Guest:
        """See the contract; takes `fake_delay` seconds, and ends at once when cancelled."""
        self._faults.check("spawn")
        if (kept := self._keep_or_remove(plan)) is not None:
            return kept
        with ExitStack() as undo:
            undo.callback(self._forget, plan.server_id)
            for number, step in enumerate(_STEPS):
                report(number * 100 // len(_STEPS), f"making {step}")
                if cancel.wait(self._delay / len(_STEPS)) if self._delay else cancel.is_set():
                    raise Cancelled(f"build of {plan.server_id} cancelled while making {step}")
                if step == "disk":
                    with self._host.change() as state:
                        state.disks[self._key(plan.server_id)] = plan.fence
            self._faults.check("spawn.late")
            with self._host.change() as state:
                state.dhcp[self._key(plan.server_id)] = plan.fence
                state.leases[self._key(plan.server_id)] = _leases(plan)
                guest = FakeGuest(self.cloud_id, plan.server_id, plan.fence, PAUSED)
                guest.log = f"fake console of {plan.name}\n"
                state.guests[plan.server_id] = guest
            undo.pop_all()
        report(100, "built, paused")
        self._tell(plan.server_id, "paused", PAUSED)
        return shown(guest)

    def commit(self, server_id: str, fence: int) -> Guest:
        """See the contract."""
        self._faults.check("commit")
        with self._host.change() as state:
            guest = self._find(state, server_id)
            if guest is None or (not guest.committed and guest.power_state != PAUSED):
                raise HostFault(f"no guest of {server_id} to commit", code="not_committed")
            check_fence(guest, fence)
            guest.committed = True
            guest.applied = fence
            changed = guest.power_state != RUNNING
            guest.power_state = RUNNING
        if changed:
            self._tell(server_id, "started", RUNNING)
        return shown(guest)

    def start(self, plan: BuildPlan, fence: int, own_disk: bool = False) -> Guest:
        """See the contract."""
        self._faults.check("start")
        with self._host.change() as state:
            guest = self._committed(state, plan.server_id, fence)
            changed = guest.power_state != RUNNING
            guest.applied = fence
            guest.power_state = RUNNING
            if changed and own_disk:
                guest.rescue = 0
        if changed:
            self._tell(plan.server_id, "started", RUNNING)
        return shown(guest)

    def stop(self, server_id: str, fence: int, timeout: float, cancel: Event) -> Guest:
        """See the contract; a fake guest obeys at once."""
        self._faults.check("stop")
        with self._host.change() as state:
            guest = self._committed(state, server_id, fence)
            changed = guest.power_state != SHUTDOWN
            guest.applied = fence
            guest.power_state = SHUTDOWN
        if changed:
            self._tell(server_id, "stopped", SHUTDOWN)
        return shown(guest)

    def reboot(self, plan: BuildPlan, fence: int, hard: bool, cancel: Event) -> Guest:
        """See the contract; `reboots` in the state file counts them."""
        self._faults.check("reboot")
        with self._host.change() as state:
            guest = self._committed(state, plan.server_id, fence)
            if guest.applied == fence and guest.power_state == RUNNING:
                return shown(guest)
            if hard:
                state.leases[self._key(plan.server_id)] = _leases(plan)
            guest.applied, guest.rescue = fence, 0
            guest.power_state = RUNNING
            guest.reboots += 1
        self._tell(plan.server_id, "started", RUNNING)
        return shown(guest)

    def destroy(self, server_id: str, fence: int) -> None:
        """See the contract."""
        self._faults.check("destroy")
        state = self._host.read()
        guest = self._find(state, server_id)
        if guest is not None:
            check_fence(guest, fence)
        key = self._key(server_id)
        left = [f for f in (state.disks.get(key), state.dhcp.get(key)) if f is not None]
        told = state.networking.get(self.cloud_id, {}).get("ports", ())
        if guest is None and not left and server_id not in {one["server_id"] for one in told}:
            return
        if left and max(left) > fence:
            raise newer(server_id, max(left), fence)
        self._forget(server_id)
        if guest is not None:
            self._tell(server_id, "stopped", SHUTDOWN)

    def cache_image(self, image: ImageSource, cancel: Event, report: Report) -> None:
        """Note that it is there; takes `fake_delay` seconds."""
        self._faults.check("cache_image")
        report(0, "downloading image")
        if cancel.wait(self._delay) if self._delay else cancel.is_set():
            raise Cancelled(f"download of image {image.id} cancelled")
        with self._host.change() as state:
            state.images[image.id] = image.checksum

    def secure(self, state: Networking) -> None:
        """Keep it: there is no network here."""
        self._faults.check("secure")
        with self._host.change() as kept:
            if state.revision >= kept.networking.get(self.cloud_id, {}).get("revision", 0):
                kept.networking[self.cloud_id] = asdict(state)

    def tidy(self) -> None:
        """There is nothing to free here."""

    def console_log(self, server_id: str, lines: int | None) -> str:
        """See the contract."""
        self._faults.check("console_log")
        guest = self._find(self._host.read(), server_id)
        if guest is None:
            raise HostFault(f"no guest of {server_id} here", code="no_guest", retriable=False)
        kept = guest.log.splitlines(keepends=True)
        return "".join(kept if lines is None else kept[len(kept) - min(lines, len(kept)) :])

    # What only tests and simulations call.

    def power_off_itself(self, server_id: str) -> None:
        """The guest ran `poweroff`: its listeners hear of it."""
        self._set_power(server_id, SHUTDOWN, "stopped")

    def crash(self, server_id: str) -> None:
        """The guest's QEMU died."""
        self._set_power(server_id, CRASHED, "crashed")

    def lose(self, server_id: str) -> None:
        """Somebody removed the guest behind our back; its files stay."""
        with self._host.change() as state:
            if self._find(state, server_id):
                del state.guests[server_id]

    def reboot_host(self) -> None:
        """The machine lost power: a new boot id, and all guests are shut off."""
        with self._host.change() as state:
            state.boot_id = str(uuid.uuid4())
            for guest in state.guests.values():
                guest.power_state = SHUTDOWN

    def remove_networks(self) -> None:
        """Nothing to do; the libvirt driver has it, for bin/down."""

    def _keep_or_remove(self, plan: BuildPlan) -> Guest | None:
        """What the contract says about a guest that is here before its build."""
        guest = self._find(self._host.read(), plan.server_id)
        if guest is None:
            return None
        if guest.fence == plan.fence and (guest.committed or guest.power_state == PAUSED):
            return shown(guest)
        if guest.committed:
            raise HostFault(f"old copy of {plan.server_id} on this host", code="old_copy")
        check_fence(guest, plan.fence)
        self._forget(plan.server_id)
        return None

    def _forget(self, server_id: str) -> None:
        with self._host.change() as state:
            if self._find(state, server_id):
                del state.guests[server_id]
            state.disks.pop(self._key(server_id), None)
            state.dhcp.pop(self._key(server_id), None)
            state.leases.pop(self._key(server_id), None)
            told = state.networking.get(self.cloud_id, {})
            told["ports"] = [one for one in told.get("ports", ()) if one["server_id"] != server_id]


def _leases(plan: BuildPlan) -> list[list[str]]:
    return [[nic.mac, nic.address] for nic in plan.nics]
