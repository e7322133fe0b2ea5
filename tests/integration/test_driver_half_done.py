"""What is neither done nor undone is said to be so, and nothing that it may need goes."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from app.domain.guest import RUNNING, SHUTDOWN
from app.domain.message import BuildPlan
from app.errors import HostFault
from app.failpoints import Step
from app.virt.libvirt import connection, plugging, rebuild
from tests.integration.virt_fixtures import Hypervisor, ImageServer, OwnLibvirtd

pytest_plugins = ["tests.integration.virt_fixtures"]


class Deadly:
    """A step before or after which libvirtd is killed."""

    def __init__(self, step: Step, own: OwnLibvirtd, after: bool = False) -> None:
        self.step, self.own, self.after = step, own, after

    def __enter__(self) -> None:
        if not self.after:
            self._kill()

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if self.after and kind is None:
            self._kill()

    def _kill(self) -> None:
        self.own.kill()


@pytest.fixture
def qemu(
    own_libvirtd: OwnLibvirtd,
    tmp_path: Path,
    images: ImageServer,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Hypervisor]:
    """Real QEMU, whose driver gives libvirtd up after a second."""
    monkeypatch.setattr(connection, "RETRY_SECONDS", 1.0)
    made = Hypervisor("qemu", tmp_path, images, own_libvirtd.uri)
    yield made
    monkeypatch.undo()
    made.close()


def quiet(percent: int, message: str) -> None:
    """Hears of progress and says nothing."""


def running(driver: Any, plan: BuildPlan) -> Any:
    driver.spawn(plan, threading.Event(), quiet)
    return driver.commit(plan.server_id, plan.fence)


def files_of(hypervisor: Hypervisor, plan: BuildPlan) -> list[str]:
    [folder] = hypervisor.folder.glob(f"*/hosts/n1/instances/{plan.server_id}")
    names = [path.name for path in folder.iterdir()]
    return sorted(name for name in names if name.endswith((".qcow2", ".iso")))


def dying(
    patch: pytest.MonkeyPatch, module: ModuleType, name: str, own: OwnLibvirtd, **more: Any
) -> Callable[[], None]:
    """Have libvirtd die at the module's step of that name; what makes all well again."""
    step = getattr(module, name)
    patch.setattr(module, name, Deadly(step, own, **more))

    def mend() -> None:
        patch.setattr(module, name, step)
        own.restart()

    return mend


def test_a_rebuild_that_cannot_be_put_back_keeps_both_disks_and_says_half_done(
    qemu: Hypervisor, own_libvirtd: OwnLibvirtd, monkeypatch: pytest.MonkeyPatch
):
    driver, plan = qemu.driver(), qemu.plan()
    running(driver, plan)
    mend = dying(monkeypatch, rebuild, "START", own_libvirtd)
    with pytest.raises(HostFault) as caught:
        driver.rebuild(replace(plan, fence=8), False, threading.Event(), quiet)
    mend()
    assert (caught.value.code, caught.value.retriable) == ("half_done", False)
    both = ["config-5.iso", "config-8.iso", "disk-5.qcow2", "disk-8.qcow2"]
    assert files_of(qemu, plan) == both
    after = driver.find(plan.server_id)
    assert (after.fence, after.power_state) == (8, SHUTDOWN)
    assert driver.reboot(replace(plan, fence=9), 9, True, threading.Event()).power_state == RUNNING
    driver.rebuild(replace(plan, fence=10), False, threading.Event(), quiet)
    assert files_of(qemu, plan) == ["config-10.iso", "disk-10.qcow2"]


def test_a_rescue_that_cannot_be_put_back_keeps_its_disk_until_a_hard_reboot(
    qemu: Hypervisor, own_libvirtd: OwnLibvirtd, monkeypatch: pytest.MonkeyPatch
):
    driver, plan = qemu.driver(), qemu.plan()
    running(driver, plan)
    mend = dying(monkeypatch, rebuild, "START", own_libvirtd)
    with pytest.raises(HostFault) as caught:
        driver.rescue(replace(plan, fence=6), threading.Event(), quiet)
    mend()
    assert caught.value.code == "half_done"
    assert files_of(qemu, plan) == ["config-5.iso", "disk-5.qcow2", "rescue-6.qcow2"]
    guest = driver.reboot(plan, 7, True, threading.Event())
    assert (guest.rescue, guest.power_state) == (0, RUNNING)
    assert files_of(qemu, plan) == ["config-5.iso", "disk-5.qcow2"]


def test_a_rebuild_that_is_done_but_not_seen_to_be_is_half_done(
    qemu: Hypervisor, own_libvirtd: OwnLibvirtd, monkeypatch: pytest.MonkeyPatch
):
    driver, plan = qemu.driver(), qemu.plan()
    running(driver, plan)
    mend = dying(monkeypatch, rebuild, "SWEEP", own_libvirtd)
    with pytest.raises(HostFault) as caught:
        driver.rebuild(replace(plan, fence=8), False, threading.Event(), quiet)
    mend()
    assert caught.value.code == "half_done"
    assert driver.find(plan.server_id).power_state == RUNNING


class TooSlow:
    """The start whose answer comes too late: it is taken for failed, and done all the same."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, *ended: object) -> None:
        raise HostFault("libvirtd did not finish", code="too_slow")


def test_a_start_that_was_finished_late_is_not_taken_for_the_old_guest(
    qemu: Hypervisor, monkeypatch: pytest.MonkeyPatch
):
    driver, plan = qemu.driver(), qemu.plan()
    running(driver, plan)
    guests = driver.host.guests
    kill, killed = guests.kill, []

    def too_early(server_id: str) -> None:
        killed.append(server_id)
        if len(killed) == 1:
            kill(server_id)  # the old guest; the new one was not there yet when it was ended

    monkeypatch.setattr(rebuild, "START", TooSlow())
    monkeypatch.setattr(guests, "kill", too_early)
    with pytest.raises(HostFault) as caught:
        driver.rebuild(replace(plan, fence=8), False, threading.Event(), quiet)
    assert (caught.value.code, len(killed)) == ("half_done", 2)
    assert (driver.find(plan.server_id).fence, driver.find(plan.server_id).applied) == (8, 8)
    assert "disk-8.qcow2" in files_of(qemu, plan)


@pytest.mark.parametrize("step", ["PLUG", "MARK_PLUGGED"])
def test_a_nic_that_cannot_be_taken_back_is_half_done_and_goes_with_a_detach(
    qemu: Hypervisor, own_libvirtd: OwnLibvirtd, monkeypatch: pytest.MonkeyPatch, step: str
):
    driver, plan = qemu.driver(), qemu.plan()
    running(driver, plan)
    driver.stop(plan.server_id, 6, 0, threading.Event())
    [first], [second] = plan.nics, qemu.plan().nics
    both = replace(plan, nics=(first, second))
    mend = dying(monkeypatch, plugging, step, own_libvirtd, after=True)
    with pytest.raises(HostFault) as caught:
        driver.attach(both, 7, second.port_id)
    mend()
    assert (caught.value.code, caught.value.retriable) == ("half_done", False)
    assert second.mac in driver.host.guests.definition(plan.server_id)
    driver.detach(both, 8, second.port_id, threading.Event())
    assert second.mac not in driver.host.guests.definition(plan.server_id)
    assert {mac for _, mac, _ in driver.inventory().leases} == {first.mac}
