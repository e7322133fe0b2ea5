"""The libvirt driver on real QEMU: libvirtd's deaths, other people's guests, and real boots."""

from __future__ import annotations

import base64
import ctypes
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time
import uuid
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.domain.guest import PAUSED, RUNNING, SHUTDOWN
from app.domain.message import BuildPlan
from app.domain.resources import Resources
from app.errors import HostFault
from app.virt.libvirt import leftovers, probe
from app.virt.libvirt.connection import Connection
from app.virt.libvirt.names import bridge_name
from tests.cloud import allowed, eventually
from tests.integration.virt_fixtures import (
    Hypervisor,
    ImageServer,
    OwnLibvirtd,
    require_libvirtd,
)

pytest_plugins = ["tests.integration.virt_fixtures"]

BOOT_SECONDS = 120
KEY = "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(32)).decode()


@pytest.fixture
def qemu(own_libvirtd: OwnLibvirtd, tmp_path: Path, images: ImageServer) -> Iterator[Hypervisor]:
    made = Hypervisor("qemu", tmp_path, images, own_libvirtd.uri)
    yield made
    made.close()


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ImageServer]:
    """A server of the image that boots."""
    require_libvirtd()
    path = os.environ.get("NOVELLA_TINY_IMAGE") or tmp_path_factory.mktemp("tiny") / "tiny.qcow2"
    if not Path(path).exists():
        build = Path(__file__).parents[2] / "bin/tiny-image"
        subprocess.run([build, path], check=True, timeout=200, capture_output=True)
    server = ImageServer(Path(path))
    yield server
    server.close()


@pytest.fixture
def booting(own_libvirtd: OwnLibvirtd, tmp_path: Path, tiny: ImageServer) -> Iterator[Hypervisor]:
    made = Hypervisor("qemu", tmp_path, tiny, own_libvirtd.uri, subnet="10.77.3")
    yield made
    made.close()


def spawn(driver: Any, plan: BuildPlan) -> Any:
    return driver.spawn(plan, threading.Event(), lambda percent, message: None)


def running(driver: Any, plan: BuildPlan) -> Any:
    spawn(driver, plan)
    return driver.commit(plan.server_id, plan.fence)


def tiny_plan(hypervisor: Hypervisor, **changes: Any) -> BuildPlan:
    return hypervisor.plan(resources=Resources(1, 128, 1), **changes)


def wait_for_ready(driver: Any, server_id: str, times: int = 1) -> str:
    def ready() -> str | None:
        log = driver.console_log(server_id, None)
        return log if log.count("NOVELLA-GUEST ready") >= times else None

    return str(eventually(ready, BOOT_SECONDS))


def ping(own: OwnLibvirtd, address: str) -> bool:
    argv = ["ip", "netns", "exec", own.netns, "ping", "-c", "1", "-W", "2", address]
    return subprocess.run(argv, capture_output=True, timeout=10, check=False).returncode == 0


def test_a_guest_boots_with_its_metadata_address_and_key_and_obeys_acpi(
    booting: Hypervisor, own_libvirtd: OwnLibvirtd
):
    driver = booting.driver(shutdown_seconds=60)
    script = "#!/bin/sh\necho hello from user data\n"
    plan = tiny_plan(
        booting,
        public_key=KEY,
        key_name="mine",
        user_data=base64.b64encode(script.encode()).decode(),
    )
    running(driver, plan)
    log = wait_for_ready(driver, plan.server_id)
    assert "NOVELLA-GUEST hostname=web-1" in log
    assert f"NOVELLA-GUEST address={plan.nics[0].address}/24" in log
    assert "NOVELLA-GUEST user-data: hello from user data" in log
    assert "ssh-key=SHA256:" in log
    eventually(lambda: ping(own_libvirtd, plan.nics[0].address), 30, "the guest answers ping")
    assert "NOVELLA-GUEST ready" in driver.console_log(plan.server_id, 50)
    rebooted = driver.reboot(plan, 6, False, threading.Event())
    assert rebooted.power_state == RUNNING
    wait_for_ready(driver, plan.server_id, times=2)
    began = time.monotonic()
    assert driver.stop(plan.server_id, 7, 60, threading.Event()).power_state == SHUTDOWN
    assert time.monotonic() - began < allowed(30)


def test_an_address_is_leased_to_its_next_owner_at_once(booting: Hypervisor):
    driver = booting.driver()
    first = tiny_plan(booting)
    running(driver, first)
    wait_for_ready(driver, first.server_id)
    (nic,) = first.nics
    destroy_inside(driver, first)
    second = tiny_plan(booting, nics=(replace(nic, mac="fa:16:3e:00:00:77"),))
    running(driver, second)
    log = wait_for_ready(driver, second.server_id)
    assert f"NOVELLA-GUEST address={nic.address}/24" in log


def destroy_inside(driver: Any, plan: BuildPlan) -> None:
    """Destroy from a thread that is in libvirtd's network namespace."""
    own_netns = Path(f"/run/netns/novtest{os.getpid()}")

    def destroy() -> None:
        with own_netns.open() as namespace:
            assert ctypes.CDLL(None).setns(namespace.fileno(), 0x40000000) == 0
        driver.destroy(plan.server_id, plan.fence)

    thread = threading.Thread(target=destroy)
    thread.start()
    thread.join(30)
    assert driver.find(plan.server_id) is None


def test_a_guest_that_powers_itself_off_is_reported_at_once(booting: Hypervisor):
    driver = booting.driver()
    heard: list[tuple[str, str, int]] = []
    driver.listen(lambda *event: heard.append(event))
    off = base64.b64encode(b"#!/bin/sh\npoweroff\n").decode()
    plan = tiny_plan(booting, user_data=off)
    running(driver, plan)
    eventually(lambda: (plan.server_id, "stopped", SHUTDOWN) in heard, BOOT_SECONDS)
    assert driver.find(plan.server_id).power_state == SHUTDOWN


def test_guests_survive_a_killed_libvirtd_and_are_heard_of_again(
    qemu: Hypervisor, own_libvirtd: OwnLibvirtd
):
    driver, plan = qemu.driver(), qemu.plan()
    heard: list[tuple[str, str, int]] = []
    driver.listen(lambda *event: heard.append(event))
    guest = running(driver, plan)
    own_libvirtd.restart()
    assert driver.find(plan.server_id) == guest
    assert driver.inventory().complete
    eventually(lambda: (plan.server_id, "found", RUNNING) in heard)
    driver.stop(plan.server_id, 6, 0, threading.Event())
    eventually(lambda: (plan.server_id, "stopped", SHUTDOWN) in heard, 5)


def test_a_guest_that_ended_while_libvirtd_was_away_is_heard_of(
    qemu: Hypervisor, own_libvirtd: OwnLibvirtd
):
    driver, plan = qemu.driver(), qemu.plan()
    heard: list[tuple[str, str, int]] = []
    driver.listen(lambda *event: heard.append(event))
    running(driver, plan)
    processes = leftovers.find(own_libvirtd.daemon).processes
    (guest,) = [pid for pid, name in processes.items() if name.startswith("qemu")]
    own_libvirtd.kill()
    os.kill(guest, signal.SIGKILL)
    heard.clear()
    own_libvirtd.restart()
    eventually(lambda: any(state == SHUTDOWN for _, _, state in heard))


def test_a_build_goes_on_when_libvirtd_is_killed_under_it(
    qemu: Hypervisor, own_libvirtd: OwnLibvirtd
):
    driver, plan = qemu.driver(), qemu.plan()
    qemu.images.flow.clear()
    built: list[Any] = []
    thread = threading.Thread(target=lambda: built.append(running(driver, plan)))
    thread.start()
    assert qemu.images.half_sent.wait(10)
    restarting = threading.Thread(target=own_libvirtd.restart, args=(1.0,))
    restarting.start()
    eventually(lambda: not driver.healthy(), 10)
    qemu.images.flow.set()
    restarting.join(40)
    thread.join(20)
    assert [guest.power_state for guest in built] == [RUNNING]
    assert driver.inventory().guests == tuple(built)


@pytest.mark.parametrize("delay", [0.2, 0.6, 1.0])
def test_a_guest_is_built_whenever_libvirtd_is_killed_twice(
    qemu: Hypervisor, own_libvirtd: OwnLibvirtd, delay: float
):
    driver, plan = qemu.driver(), qemu.plan()
    states: list[int] = []

    def live() -> None:
        states.append(running(driver, plan).power_state)
        states.append(driver.reboot(plan, 6, True, threading.Event()).power_state)
        driver.destroy(plan.server_id, 7)

    thread = threading.Thread(target=live)
    thread.start()
    for _ in range(2):
        thread.join(delay)
        own_libvirtd.restart()
    thread.join(60)
    assert states == [RUNNING, RUNNING]
    inventory = driver.inventory()
    assert (inventory.guests, inventory.disks, inventory.dhcp) == ((), (), ())


def test_a_guest_is_built_though_its_first_qemu_says_nothing_to_a_restarted_libvirtd(
    qemu: Hypervisor, own_libvirtd: OwnLibvirtd
):
    driver, plan = qemu.driver(), qemu.plan()
    built: list[Any] = []
    thread = threading.Thread(target=lambda: built.append(running(driver, plan)))
    thread.start()
    dumb = psutil.Process(eventually(lambda: qemus_of(plan.server_id), 20, "QEMU")[0])
    dumb.suspend()
    own_libvirtd.restart()
    thread.join(60)
    assert [guest.power_state for guest in built] == [RUNNING]
    assert not dumb.is_running()
    assert len(qemus_of(plan.server_id)) == 1


def qemus_of(server_id: str) -> list[int]:
    """The QEMU processes of a server."""
    found = []
    for one in psutil.process_iter():
        with suppress(psutil.Error):
            if any(server_id in part for part in one.cmdline() if part.startswith("guest=")):
                found.append(one.pid)
    return found


def test_a_hung_libvirtd_is_unhealthy_within_five_seconds_and_well_again_after(
    qemu: Hypervisor, own_libvirtd: OwnLibvirtd
):
    driver = qemu.driver()
    assert driver.healthy()
    (pid,) = [
        pid
        for pid, name in leftovers._processes(own_libvirtd.daemon.run).items()
        if name == "libvirtd"
    ]
    os.kill(pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        assert not driver.healthy()
        assert time.monotonic() - began < allowed(6)
    finally:
        os.kill(pid, signal.SIGCONT)
    eventually(driver.healthy, 20)


def test_other_peoples_guests_and_networks_are_neither_listed_nor_touched(qemu: Hypervisor):
    connection = Connection(qemu.uri)
    link = connection.get()
    theirs = link.defineXML(
        "<domain type='qemu'><name>owners</name><memory unit='MiB'>64</memory>"
        "<os><type arch='x86_64' machine='pc'>hvm</type></os></domain>"
    )
    network = link.networkDefineXML("<network><name>owners</name></network>")
    try:
        theirs.create()
        driver = qemu.driver()
        plan = qemu.plan()
        running(driver, plan)
        assert [guest.server_id for guest in driver.inventory().guests] == [plan.server_id]
        driver.destroy(theirs.UUIDString(), 99)
        assert driver.find(theirs.UUIDString()) is None
        with pytest.raises(HostFault) as caught:
            spawn(driver, replace(qemu.plan(), server_id=theirs.UUIDString()))
        assert caught.value.code == "foreign_guest"
        driver.destroy(plan.server_id, 9)
        driver.remove_networks()
        assert theirs.isActive()
        assert network.name() == "owners"
    finally:
        theirs.destroy()
        theirs.undefine()
        network.undefine()
        connection.close()


@pytest.mark.parametrize("address", ["10.77.9.7/24", "10.77.9.130/25", "10.77.8.7/22"])
def test_a_subnet_that_the_host_uses_already_is_refused_by_name(
    qemu: Hypervisor, own_libvirtd: OwnLibvirtd, address: str
):
    in_netns = ["ip", "-n", own_libvirtd.netns]
    subprocess.run([*in_netns, "link", "add", "owner0", "type", "bridge"], check=True, timeout=10)
    try:
        for args in (["addr", "add", address, "dev", "owner0"], ["link", "set", "owner0"]):
            up = ["up"] if args[0] == "link" else []
            subprocess.run([*in_netns, *args, *up], check=True, timeout=10)
        driver = qemu.driver()
        plan = replace(qemu, subnet="10.77.9").plan()
        with pytest.raises(HostFault) as caught:
            spawn(driver, plan)
        assert caught.value.code == "subnet_in_use"
        assert "owner0" in caught.value.message
        assert driver.inventory().guests == ()
    finally:
        subprocess.run([*in_netns, "link", "delete", "owner0"], check=True, timeout=10)


@pytest.mark.parametrize("address", ["", "10.77.1.1/24"])
def test_a_bridge_that_a_killed_libvirtd_left_half_made_is_replaced(
    qemu: Hypervisor, own_libvirtd: OwnLibvirtd, address: str
):
    driver, plan = qemu.driver(), qemu.plan()
    bridge = bridge_name(qemu.cloud_id, qemu.network_id)
    in_netns = ["ip", "-n", own_libvirtd.netns]
    subprocess.run([*in_netns, "link", "add", bridge, "type", "bridge"], check=True, timeout=10)
    if address:
        addition = [*in_netns, "addr", "add", address, "dev", bridge]
        subprocess.run(addition, check=True, timeout=10)
        subprocess.run([*in_netns, "link", "set", bridge, "up"], check=True, timeout=10)
    assert running(driver, plan).power_state == RUNNING


def test_networks_come_back_with_their_entries_after_the_host_lost_them(qemu: Hypervisor):
    driver, plan = qemu.driver(), qemu.plan()
    running(driver, plan)
    driver.stop(plan.server_id, 6, 0, threading.Event())
    driver.remove_networks()
    assert driver.inventory().dhcp == ()
    assert driver.start(plan, 7).power_state == RUNNING
    assert driver.inventory().dhcp == (plan.server_id,)


def test_kvm_is_chosen_only_when_a_guest_has_run_under_it(
    own_libvirtd: OwnLibvirtd, tmp_path: Path
):
    connection = Connection(own_libvirtd.uri)
    cloud = str(uuid.uuid4())
    try:
        assert probe.proves(connection, cloud, tmp_path, virt_type="qemu", seconds=15)
        chosen = probe.choose(connection, "auto", cloud, tmp_path)
        assert chosen == ("kvm" if probe.proves(connection, cloud, tmp_path) else "qemu")
        began = time.monotonic()
        assert probe.choose(connection, "auto", cloud, tmp_path) == chosen
        assert time.monotonic() - began < allowed(0.5)
        assert connection.get().listAllDomains(0) == []
        assert [path.name for path in tmp_path.iterdir()] == ["virt_type.json"]
    finally:
        connection.close()


def test_a_guest_interrupted_between_definition_and_start_is_built_anew(qemu: Hypervisor):
    driver, plan = qemu.driver(), qemu.plan()
    spawn(driver, plan)
    driver.host.guests.kill(plan.server_id)  # as if the worker had died before the start
    assert driver.find(plan.server_id).power_state == SHUTDOWN
    with pytest.raises(HostFault) as caught:
        driver.commit(plan.server_id, 5)
    assert caught.value.code == "not_committed"
    assert spawn(driver, plan).power_state == PAUSED


def test_a_guest_is_built_though_its_first_libvirtd_died_before_it_had_a_qemu(
    qemu: Hypervisor, own_libvirtd: OwnLibvirtd
):
    driver, plan = qemu.driver(), qemu.plan()
    spawn(driver, plan)
    (guest,) = qemus_of(plan.server_id)
    own_libvirtd.kill()
    os.kill(guest, signal.SIGKILL)
    (path,) = own_libvirtd.daemon.run.glob(f"qemu/*{plan.server_id}.xml")
    status = ET.parse(path)
    root = status.getroot()
    root.attrib.update(state="paused", reason="starting up", pid="0")
    ET.SubElement(root, "job", {"type": "none", "async": "start"})
    status.write(path)
    own_libvirtd.restart()
    assert running(driver, plan).power_state == RUNNING


@pytest.fixture
def abandoned(tmp_path: Path, images: ImageServer) -> Iterator[tuple[OwnLibvirtd, BuildPlan]]:
    """A libvirtd that was killed while a guest ran; the test takes it down."""
    require_libvirtd()
    with tempfile.TemporaryDirectory(prefix="nv-") as runtime:
        own = OwnLibvirtd(tmp_path, Path(runtime), netns=f"novdown{os.getpid()}")
        qemu = Hypervisor("qemu", tmp_path, images, own.uri)
        driver, plan = qemu.driver(), qemu.plan()
        running(driver, plan)
        assert leftovers.find(own.daemon)
        own.kill()
        driver.close()
        yield own, plan


def test_teardown_ends_guests_and_networks_and_keeps_definitions(
    abandoned: tuple[OwnLibvirtd, BuildPlan], tmp_path: Path
):
    own, plan = abandoned
    left = leftovers.find(own.daemon)
    assert left.bridges
    assert any(name.startswith("qemu") for name in left.processes.values())
    did = own.close()
    assert any(plan.server_id in line for line in did), did
    assert list(tmp_path.glob(f"libvirt state/etc/qemu/*{plan.server_id}.xml"))


def test_teardown_asks_again_when_the_libvirtd_it_found_was_about_to_die(
    abandoned: tuple[OwnLibvirtd, BuildPlan],
):
    own, plan = abandoned
    own.daemon.socket.unlink()
    dying = socket.create_server(str(own.daemon.socket), family=socket.AF_UNIX)
    dying.settimeout(30)

    def die() -> None:
        heard = b""
        while not heard:  # who only looks whether anybody listens says nothing
            client, _ = dying.accept()
            heard = client.recv(4)
        dying.close()
        client.close()

    thread = threading.Thread(target=die, daemon=True)
    thread.start()
    did = own.close()
    thread.join(10)
    assert any(line.startswith("ended guest") and plan.server_id in line for line in did), did
    assert not any("did not help" in line for line in did)


def test_the_console_can_be_reached_on_loopback_only(qemu: Hypervisor):
    driver, plan = qemu.driver(), qemu.plan()
    running(driver, plan)
    connection = Connection(qemu.uri)
    xml = connection.get().lookupByUUIDString(plan.server_id).XMLDesc(0)
    connection.close()
    assert re.search(r"type='vnc' port='\d+' autoport='yes' listen='127.0.0.1'", xml)
