"""What every driver promises: the fake, libvirt's test driver, and real QEMU."""

from __future__ import annotations

import itertools
import os
import subprocess
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.domain.guest import PAUSED, RUNNING, SHUTDOWN
from app.domain.message import BuildPlan, ImageSource
from app.domain.resources import Resources
from app.errors import Cancelled, HostFault
from app.images.inspect import virtual_size
from app.virt.driver import Driver
from app.virt.fake import FakeDriver
from tests.cloud import allowed, eventually
from tests.integration.virt_fixtures import Hypervisor

pytest_plugins = ["tests.integration.virt_fixtures"]
MIB = 1 << 20


def spawn(driver: Driver, plan: BuildPlan, cancel: threading.Event | None = None) -> Any:
    return driver.spawn(plan, cancel or threading.Event(), lambda percent, message: None)


def running(driver: Driver, plan: BuildPlan) -> Any:
    spawn(driver, plan)
    return driver.commit(plan.server_id, plan.fence)


def never() -> threading.Event:
    return threading.Event()


def quiet(percent: int, message: str) -> None:
    """Hears of progress and says nothing."""


def disks_of(hypervisor: Hypervisor, plan: BuildPlan) -> list[str]:
    """The server's disks and drives, by name."""
    folders = hypervisor.folder.glob(f"*/hosts/n1/instances/{plan.server_id}")
    names = [path.name for folder in folders for path in folder.iterdir()]
    return sorted(name for name in names if name.endswith((".qcow2", ".iso")))


def assert_nothing(driver: Driver) -> None:
    inventory = driver.inventory()
    assert (inventory.guests, inventory.disks, inventory.dhcp) == ((), (), ())
    assert inventory.complete


def test_a_spawned_guest_is_paused_uncommitted_and_in_the_inventory(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    messages: list[tuple[int, str]] = []
    guest = driver.spawn(plan, never(), lambda *progress: messages.append(progress))
    assert (guest.server_id, guest.fence, guest.committed) == (plan.server_id, 5, False)
    assert guest.power_state == PAUSED
    assert driver.find(plan.server_id) == guest
    inventory = driver.inventory()
    assert inventory.guests == (guest,)
    assert inventory.disks == inventory.dhcp == (plan.server_id,)
    assert inventory.leases == tuple((plan.server_id, n.mac, n.address) for n in plan.nics)
    assert inventory.complete
    assert inventory.boot_id
    percents = [percent for percent, _ in messages]
    assert percents == sorted(percents)
    assert percents[-1] == 100


def test_a_spawn_repeated_at_its_fence_returns_the_same_guest(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    assert spawn(driver, plan) == spawn(driver, plan)
    committed = driver.commit(plan.server_id, 5)
    assert spawn(driver, plan) == committed


def test_an_uncommitted_guest_of_an_earlier_fence_is_replaced(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    spawn(driver, plan)
    guest = spawn(driver, replace(plan, fence=6))
    assert (guest.fence, guest.power_state) == (6, PAUSED)
    assert len(driver.inventory().guests) == 1


def test_a_late_spawn_does_not_touch_a_guest_of_a_later_fence(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    newer = spawn(driver, replace(plan, fence=6))
    with pytest.raises(HostFault) as caught:
        spawn(driver, plan)
    assert caught.value.code == "newer_fence"
    assert driver.find(plan.server_id) == newer


def test_a_committed_guest_is_never_touched_by_a_spawn_at_another_fence(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    before = running(driver, plan)
    for fence in (4, 6):
        with pytest.raises(HostFault) as caught:
            spawn(driver, replace(plan, fence=fence))
        assert (caught.value.code, caught.value.retriable) == ("old_copy", True)
    assert driver.find(plan.server_id) == before


def test_a_commit_runs_the_guest_and_may_be_repeated(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    guest = running(driver, plan)
    assert (guest.committed, guest.power_state, guest.fence) == (True, RUNNING, 5)
    assert driver.commit(plan.server_id, 5) == guest


def test_a_committed_guest_that_was_shut_off_is_started_by_a_repeated_commit(
    hypervisor: Hypervisor,
):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    driver.stop(plan.server_id, 5, 0, never())
    assert driver.commit(plan.server_id, 5).power_state == RUNNING


def test_what_is_not_there_cannot_be_committed(hypervisor: Hypervisor):
    driver = hypervisor.driver()
    with pytest.raises(HostFault) as caught:
        driver.commit(str(uuid.uuid4()), 5)
    assert caught.value.code == "not_committed"


def test_stop_start_and_reboot_may_each_be_repeated(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    sid = plan.server_id
    for _ in range(2):
        guest = driver.stop(sid, 6, 0.5, never())
        assert (guest.power_state, guest.committed) == (SHUTDOWN, True)
    for _ in range(2):
        guest = driver.start(plan, 7)
        assert (guest.power_state, guest.applied, guest.fence) == (RUNNING, 7, 5)
    for _ in range(2):
        assert driver.reboot(plan, 8, True, never()).applied == 8
    for _ in range(2):
        guest = driver.reboot(plan, 9, False, never())
        assert (guest.power_state, guest.applied, guest.committed) == (RUNNING, 9, True)
    assert driver.find(sid) == guest


def test_pause_and_unpause_may_each_be_repeated(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    for _ in range(2):
        guest = driver.pause(plan, 6, False)
        assert (guest.power_state, guest.applied, guest.committed) == (PAUSED, 6, True)
    for _ in range(2):
        guest = driver.unpause(plan.server_id, 7)
        assert (guest.power_state, guest.applied) == (RUNNING, 7)


def test_a_suspended_guest_is_off_and_goes_on_where_it_was(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    for _ in range(2):
        guest = driver.suspend(plan.server_id, 6, never())
        assert (guest.power_state, guest.applied, guest.committed) == (SHUTDOWN, 6, True)
    assert hypervisor.driver().find(plan.server_id) == guest
    for _ in range(2):
        guest = driver.wake(plan, 7)
        assert (guest.power_state, guest.applied, guest.fence) == (RUNNING, 7, 5)
    driver.suspend(plan.server_id, 8, never())
    assert driver.reboot(plan, 9, True, never()).power_state == RUNNING


def test_a_guest_that_was_paused_when_its_host_went_down_is_paused_again(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    driver.pause(plan, 6, False)
    driver.suspend(plan.server_id, 6, never())
    assert driver.pause(plan, 7, True).power_state == PAUSED
    driver.stop(plan.server_id, 8, 0, never())
    assert driver.pause(plan, 9, True).power_state == PAUSED
    assert driver.unpause(plan.server_id, 10).power_state == RUNNING


def test_what_needs_a_running_guest_refuses_one_that_is_off(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    sid = plan.server_id
    off = driver.stop(sid, 6, 0, never())
    for ask in (
        lambda: driver.pause(plan, 7, False),
        lambda: driver.unpause(sid, 7),
        lambda: driver.suspend(sid, 7, never()),
        lambda: driver.inject_nmi(sid, 7),
        lambda: driver.set_password(sid, 7, "root", "secret"),
        lambda: driver.diagnostics(sid),
    ):
        with pytest.raises(HostFault) as caught:
            ask()
        assert (caught.value.code, caught.value.retriable) == ("not_running", False)
    assert driver.find(sid) == off


def test_a_guest_is_interrupted_once_and_diagnosed(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    for _ in range(2):
        assert driver.inject_nmi(plan.server_id, 6).applied == 6
    found = driver.diagnostics(plan.server_id)
    assert len(found.cpu_times) == 1
    assert found.disks[0].name == "vda"
    assert [nic.mac for nic in found.nics] == [nic.mac for nic in plan.nics]


def test_a_password_is_set_where_an_agent_answers(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    if driver.has_agent(plan.server_id):
        assert driver.set_password(plan.server_id, 6, "root", "secret").applied == 6
        return
    assert hypervisor.is_qemu
    with pytest.raises(HostFault) as caught:
        driver.set_password(plan.server_id, 6, "root", "secret")
    assert (caught.value.code, caught.value.retriable) == ("no_agent", False)


def test_a_rebuild_gives_a_new_disk_and_may_be_repeated(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    again = replace(plan, fence=8, hostname="other")
    for _ in range(2):
        guest = driver.rebuild(again, False, never(), quiet)
        assert (guest.fence, guest.applied, guest.power_state) == (8, 8, RUNNING)
        assert guest.committed
    off = driver.rebuild(replace(plan, fence=9), True, never(), quiet)
    assert (off.fence, off.power_state) == (9, SHUTDOWN)
    assert driver.start(plan, 10).power_state == RUNNING
    assert disks_of(hypervisor, plan) in ([], ["config-9.iso", "disk-9.qcow2"])
    with pytest.raises(HostFault) as caught:
        driver.rebuild(again, False, never(), quiet)
    assert caught.value.code == "newer_fence"


def test_a_guest_that_was_lost_is_made_anew_by_a_rebuild(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    guest = driver.rebuild(plan, False, never(), quiet)
    assert (guest.fence, guest.committed, guest.power_state) == (5, True, RUNNING)


def test_a_rebuild_that_fails_leaves_the_guest_as_it_was(hypervisor: Hypervisor):
    if not hypervisor.is_libvirt:
        pytest.skip("cannot fail there")
    driver, plan = hypervisor.driver(), hypervisor.plan()
    before = running(driver, plan)
    bad = hypervisor.images.source(checksum="0" * 128)
    nobody = replace(plan.nics[0], mac="not a MAC")
    for broken in ({"image": bad}, {"nics": (nobody,)}):
        with pytest.raises(HostFault):
            driver.rebuild(replace(plan, fence=8, **broken), False, never(), quiet)
        with pytest.raises(HostFault):
            driver.rescue(replace(plan, fence=8, **broken), never(), quiet)
        after = driver.find(plan.server_id)
        assert (after.fence, after.power_state, after.rescue) == (5, RUNNING, 0)
    assert after.committed == before.committed
    assert disks_of(hypervisor, plan) == ["config-5.iso", "disk-5.qcow2"]


def die_having_ended(driver: Any, plan: BuildPlan, fence: int) -> None:
    """Leave what a worker does that dies when it has ended the guest and not defined it anew."""
    if isinstance(driver, FakeDriver):
        driver._end(plan.server_id, fence)
    else:
        driver.host.guests.set_mark(plan.server_id, ended=fence)
        driver.host.guests.kill(plan.server_id)
    assert driver.find(plan.server_id).power_state == SHUTDOWN


def test_a_guest_that_a_dead_worker_ended_runs_again_when_the_next_try_fails(
    hypervisor: Hypervisor,
):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    cancelled = never()
    cancelled.set()
    for fence, work in ((8, partial(driver.rebuild, stay_off=False)), (9, driver.rescue)):
        die_having_ended(driver, plan, fence)
        with pytest.raises(Cancelled):
            work(replace(plan, fence=fence), cancel=cancelled, report=quiet)
        after = driver.find(plan.server_id)
        assert (after.fence, after.power_state, after.rescue) == (5, RUNNING, 0)
    assert disks_of(hypervisor, plan) in ([], ["config-5.iso", "disk-5.qcow2"])
    die_having_ended(driver, plan, 10)
    done = driver.rebuild(replace(plan, fence=10), False, never(), quiet)
    assert (done.fence, done.power_state) == (10, RUNNING)


def test_wherever_the_next_try_fails_the_ended_guest_runs_again(hypervisor: Hypervisor):
    if not hypervisor.is_libvirt:
        pytest.skip("cannot fail there")
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    bad = {"image": hypervisor.images.source(checksum="0" * 128)}
    nobody = {"nics": (replace(plan.nics[0], mac="not a MAC"),)}
    rebuild = partial(driver.rebuild, stay_off=False, cancel=never(), report=quiet)
    rescue = partial(driver.rescue, cancel=never(), report=quiet)
    for fence, (work, broken) in enumerate(
        ((rebuild, bad), (rebuild, nobody), (rescue, bad), (rescue, nobody)), start=8
    ):
        die_having_ended(driver, plan, fence)
        with pytest.raises(HostFault) as caught:
            work(replace(plan, fence=fence, **broken))
        assert caught.value.code != "half_done"
        after = driver.find(plan.server_id)
        assert (after.fence, after.power_state, after.rescue) == (5, RUNNING, 0)
    driver.rescue(replace(plan, fence=20), never(), quiet)
    die_having_ended(driver, plan, 21)
    with pytest.raises(HostFault):
        driver.unrescue(replace(plan, **nobody), 21)
    after = driver.find(plan.server_id)
    assert (after.rescue, after.power_state) == (20, RUNNING)


def test_a_guest_that_was_off_before_a_try_stays_off_when_it_fails(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    cancelled = never()
    cancelled.set()
    die_having_ended(driver, plan, 6)
    driver.stop(plan.server_id, 7, 0, never())
    for fence in (6, 8):
        with pytest.raises((Cancelled, HostFault)):
            driver.rebuild(replace(plan, fence=fence), False, cancelled, quiet)
        assert driver.find(plan.server_id).power_state == SHUTDOWN


def test_a_rescued_guest_survives_a_stop_and_goes_back_to_its_disk(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    for _ in range(2):
        guest = driver.rescue(replace(plan, fence=6), never(), quiet)
        assert (guest.fence, guest.rescue, guest.applied) == (5, 6, 6)
        assert guest.power_state == RUNNING
    driver.stop(plan.server_id, 7, 0, never())
    assert driver.start(plan, 8).rescue == 6
    for _ in range(2):
        guest = driver.unrescue(plan, 9)
        assert (guest.fence, guest.rescue, guest.applied) == (5, 0, 9)
        assert guest.power_state == RUNNING
    assert disks_of(hypervisor, plan) in ([], ["config-5.iso", "disk-5.qcow2"])
    driver.destroy(plan.server_id, 10)
    assert_nothing(driver)


def test_what_makes_a_rescued_guest_active_boots_it_from_its_own_disk(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    sid = plan.server_id
    driver.rescue(replace(plan, fence=6), never(), quiet)
    guest = driver.reboot(plan, 7, True, never())
    assert (guest.rescue, guest.power_state, guest.fence) == (0, RUNNING, 5)
    driver.rescue(replace(plan, fence=8), never(), quiet)
    driver.stop(sid, 9, 0, never())
    guest = driver.start(plan, 10, True)
    assert (guest.rescue, guest.power_state, guest.fence) == (0, RUNNING, 5)
    assert disks_of(hypervisor, plan) in ([], ["config-5.iso", "disk-5.qcow2"])


def test_a_snapshot_of_a_rescued_guest_is_one_of_its_own_disk(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    driver.rescue(replace(plan, fence=6), never(), quiet)
    path = driver.snapshot(plan.server_id, 7, never(), quiet)
    assert virtual_size(path, "qcow2", 1 << 40) == ((1 << 30) if hypervisor.is_libvirt else MIB)


def test_what_killed_snapshots_left_goes_with_the_next_one_or_in_time(hypervisor: Hypervisor):
    if not hypervisor.is_libvirt:
        pytest.skip("it leaves nothing")
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    sid = plan.server_id
    driver.snapshot(sid, 6, never(), quiet)
    [folder] = hypervisor.folder.glob(f"*/hosts/n1/instances/{sid}")
    left = [folder / name for name in (".snapshot-7.qcow2.part", "snapshot-6.qcow2")]
    left[0].touch()
    driver.tidy()
    assert all(path.exists() for path in left), "their tasks may still run"
    kept = driver.snapshot(sid, 8, never(), quiet)
    assert not any(path.exists() for path in left)
    driver.tidy()
    assert kept.exists()
    driver.stop(sid, 9, 0, never())
    driver.tidy()
    assert not kept.exists()
    left[0].touch()
    os.utime(left[0], (1.0, 1.0))
    driver.tidy()
    assert not left[0].exists()


def test_a_snapshot_stands_alone_whatever_the_guest_does(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    sid = plan.server_id
    fence = itertools.count(6)
    changes: list[Callable[[], Any]] = [
        lambda: None,
        lambda: driver.pause(plan, next(fence), False),
        lambda: driver.unpause(sid, next(fence)),
        lambda: driver.suspend(sid, next(fence), never()),
        lambda: driver.stop(sid, next(fence), 0, never()),
    ]
    for change in changes:
        change()
        before, at = driver.find(sid), next(fence)
        for _ in range(2):
            path = driver.snapshot(sid, at, never(), quiet)
        assert virtual_size(path, "qcow2", 1 << 40) == ((1 << 30) if hypervisor.is_libvirt else MIB)
        assert driver.find(sid) == before
        for _ in range(2):
            driver.discard_snapshot(sid, at)
        assert not path.exists()
    with pytest.raises(HostFault) as caught:
        driver.snapshot(sid, 4, never(), quiet)
    assert caught.value.code == "newer_fence"


def test_a_cancelled_snapshot_leaves_nothing(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    before = running(driver, plan)
    cancel = threading.Event()
    cancel.set()
    with pytest.raises(Cancelled):
        driver.snapshot(plan.server_id, 6, cancel, quiet)
    assert driver.find(plan.server_id) == before
    assert not list(hypervisor.folder.rglob("*snapshot*"))
    if hypervisor.is_libvirt:  # and the next one is not in its way
        assert driver.snapshot(plan.server_id, 7, never(), quiet).exists()


def test_a_nic_comes_and_goes_for_good(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    driver.stop(plan.server_id, 6, 0, never())
    (first,), (second,) = plan.nics, hypervisor.plan().nics
    both = replace(plan, nics=(first, second))

    def leases() -> set[tuple[str, str]]:
        return {(mac, address) for _, mac, address in driver.inventory().leases}

    for _ in range(2):
        assert driver.attach(both, 7, second.port_id).applied == 7
        assert leases() == {(one.mac, one.address) for one in both.nics}
    for _ in range(2):
        assert driver.detach(both, 8, first.port_id, never()).applied == 8
        assert leases() == {(second.mac, second.address)}
    driver.start(replace(plan, nics=(second,)), 9)
    assert [nic.mac for nic in driver.diagnostics(plan.server_id).nics] == [second.mac]
    with pytest.raises(HostFault) as caught:
        driver.attach(both, 8, first.port_id)
    assert caught.value.code == "newer_fence"


def test_a_nic_that_cannot_be_plugged_in_leaves_the_guest_as_it_was(hypervisor: Hypervisor):
    if not hypervisor.is_libvirt:
        pytest.skip("cannot fail there")
    driver, plan, other = hypervisor.driver(), hypervisor.plan(), hypervisor.plan()
    running(driver, other)
    running(driver, plan)
    before = driver.inventory()
    taken = replace(hypervisor.plan().nics[0], address=other.nics[0].address)
    with pytest.raises(HostFault) as caught:
        driver.attach(replace(plan, nics=(*plan.nics, taken)), 6, taken.port_id)
    assert caught.value.code == "address_in_use"
    assert driver.inventory() == before


def test_a_late_power_change_does_not_undo_a_later_one(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    driver.start(plan, 7)
    with pytest.raises(HostFault) as caught:
        driver.stop(plan.server_id, 6, 0, never())
    assert caught.value.code == "newer_fence"
    assert driver.find(plan.server_id).power_state == RUNNING


def test_destroy_removes_everything_and_may_be_repeated(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    for _ in range(2):
        driver.destroy(plan.server_id, 6)
        assert driver.find(plan.server_id) is None
        assert_nothing(driver)


def test_destroy_at_a_lower_fence_refuses(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    running(driver, plan)
    guest = driver.start(plan, 8)
    for fence in (4, 7):
        with pytest.raises(HostFault) as caught:
            driver.destroy(plan.server_id, fence)
        assert (caught.value.code, caught.value.retriable) == ("newer_fence", False)
    assert driver.find(plan.server_id) == guest


def test_two_clouds_on_one_hypervisor_do_not_see_each_other(hypervisor: Hypervisor):
    ours, plan = hypervisor.driver(), hypervisor.plan()
    guest = running(ours, plan)
    other_cloud = str(uuid.uuid4())
    theirs = hypervisor.driver(cloud_id=other_cloud, state="other")
    assert theirs.find(plan.server_id) is None
    assert_nothing(theirs)
    theirs.destroy(plan.server_id, 99)
    their_subnet = replace(hypervisor, subnet="10.77.2")
    running(theirs, replace(their_subnet.plan(), image=plan.image))
    assert ours.find(plan.server_id) == guest
    assert ours.inventory().guests == (guest,)
    assert len(theirs.inventory().dhcp) == 1


def test_guests_are_found_again_by_a_new_driver(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    guest = running(driver, plan)
    again = hypervisor.driver()
    assert again.find(plan.server_id) == guest
    assert again.inventory() == driver.inventory()


def test_listeners_hear_of_a_guest_that_stops(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(), hypervisor.plan()
    heard: list[tuple[str, str, int]] = []
    driver.listen(lambda *event: heard.append(event))
    running(driver, plan)
    driver.stop(plan.server_id, 6, 0, never())
    eventually(lambda: (plan.server_id, "stopped", SHUTDOWN) in heard, 5)
    assert all(server_id == plan.server_id for server_id, _, _ in heard)


def test_the_facts_name_the_host_and_its_capacity(hypervisor: Hypervisor):
    driver = hypervisor.driver()
    facts = driver.facts()
    assert uuid.UUID(facts.uuid)
    assert facts == driver.facts()
    assert min(facts.vcpus, facts.ram_mb, facts.disk_gb, facts.hypervisor_version) > 0
    assert driver.healthy()


def test_a_cancelled_build_ends_within_a_second_and_leaves_nothing(hypervisor: Hypervisor):
    driver, plan = hypervisor.driver(fake_delay=20.0), hypervisor.plan()
    hypervisor.images.flow.clear()
    cancel = threading.Event()
    ended: list[float] = []

    def build() -> None:
        with pytest.raises(Cancelled):
            spawn(driver, plan, cancel)
        ended.append(time.monotonic())

    thread = threading.Thread(target=build)
    thread.start()
    if hypervisor.is_libvirt:
        assert hypervisor.images.half_sent.wait(10)
    else:
        time.sleep(0.3)
    asked = time.monotonic()
    cancel.set()
    thread.join(5)
    assert ended[0] - asked < allowed(1)
    assert_nothing(driver)
    assert not list(hypervisor.folder.rglob("*.part"))


BROKEN = {
    "corrupt image": ("image_corrupt", True),
    "image too big": ("image_too_big", False),
    "address taken": ("address_in_use", True),
    "no such MAC": (None, True),
    "too much RAM": (None, True),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_failed_step_leaves_the_host_as_it_was(hypervisor: Hypervisor, what: str, tmp_path: Path):
    if not hypervisor.is_libvirt or (what == "too much RAM" and not hypervisor.is_qemu):
        pytest.skip("cannot fail there")
    driver = hypervisor.driver()
    other, plan = hypervisor.plan(), hypervisor.plan()
    kept = running(driver, other)
    before = driver.inventory()
    (nic,) = plan.nics
    taken = other.nics[0].address
    broken: dict[str, Callable[[], dict[str, Any]]] = {
        "corrupt image": lambda: {"image": hypervisor.images.source(checksum="0" * 128)},
        "image too big": lambda: {"image": big_image(hypervisor, tmp_path)},
        "address taken": lambda: {"nics": (replace(nic, address=taken),)},
        "no such MAC": lambda: {"nics": (nic, replace(nic, mac="not a MAC"))},
        "too much RAM": lambda: {"resources": Resources(1, 1 << 40, 1)},
    }
    with pytest.raises(HostFault) as caught:
        spawn(driver, replace(plan, **broken[what]()))
    code, retriable = BROKEN[what]
    assert caught.value.code == code or code is None
    assert caught.value.retriable == retriable
    assert driver.inventory() == before
    assert before.guests == (kept,)
    assert not list(hypervisor.folder.rglob("*.part"))


def big_image(hypervisor: Hypervisor, folder: Path) -> ImageSource:
    """Have the server serve an image whose disk is bigger than the flavor's."""
    path = folder / "big.qcow2"
    argv = ["qemu-img", "create", "-q", "-f", "qcow2", str(path), "2G"]
    subprocess.run(argv, check=True, timeout=30)
    hypervisor.images.content = path.read_bytes()
    return hypervisor.images.source()


@pytest.mark.parametrize("step", ["spawn", "spawn.late"])
def test_the_fake_fails_on_demand_and_leaves_nothing(tmp_path: Path, images: Any, step: str):
    fake = Hypervisor("fake", tmp_path, images)
    driver = fake.driver(fake_faults=f"{step}=once")
    plan = fake.plan()
    with pytest.raises(HostFault) as caught:
        spawn(driver, plan)
    assert (caught.value.code, caught.value.retriable) == ("fake_fault", True)
    assert_nothing(driver)
    assert spawn(driver, plan).paused


def test_many_builds_at_once_download_their_image_once(hypervisor: Hypervisor):
    driver = hypervisor.driver()
    source = hypervisor.images.source() if hypervisor.is_libvirt else None
    plans = [hypervisor.plan(image=source) for _ in range(4)]
    threads = [threading.Thread(target=spawn, args=(driver, plan)) for plan in plans]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(driver.inventory().guests) == len(plans)
    assert hypervisor.images.requests == (1 if hypervisor.is_libvirt else 0)


def test_a_build_of_an_image_that_was_cached_ahead_downloads_nothing(hypervisor: Hypervisor):
    driver = hypervisor.driver()
    source = hypervisor.images.source()
    for _ in range(2):
        driver.cache_image(source, never(), quiet)
    downloads = hypervisor.images.requests
    assert downloads == (1 if hypervisor.is_libvirt else 0)
    assert spawn(driver, hypervisor.plan(image=source)).paused
    assert hypervisor.images.requests == downloads


def test_an_image_that_cannot_be_cached_is_told_as_a_build_would(hypervisor: Hypervisor):
    if not hypervisor.is_libvirt:
        pytest.skip("the fake downloads nothing")
    driver, source = hypervisor.driver(), hypervisor.images.source(checksum="0" * 128)
    with pytest.raises(HostFault) as failed:
        driver.cache_image(source, never(), quiet)
    assert failed.value.code == "image_corrupt"
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(Cancelled):
        driver.cache_image(hypervisor.images.source(), cancelled, quiet)
