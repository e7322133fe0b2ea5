"""The fake driver's knobs, and the loader."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings
from app.domain.guest import CRASHED, RUNNING, SHUTDOWN
from app.domain.message import BuildPlan
from app.domain.resources import Resources
from app.errors import HostFault, Invalid
from app.virt.fake import FakeDriver
from app.virt.faults import Faults
from app.virt.loader import load_driver

PLAN = BuildPlan(
    server_id="5e7e0000-0000-4000-8000-000000000002",
    project_id="project",
    user_id="user",
    fence=3,
    name="web",
    hostname="web",
    flavor_name="tiny",
    resources=Resources(1, 64, 1),
    image=None,
    nics=(),
    availability_zone="nova",
)


def fake(folder: Path, host: str = "n1", **changes: Any) -> FakeDriver:
    return FakeDriver(host, "cloud", Settings(state_dir=folder, **changes))


def running(driver: FakeDriver) -> None:
    driver.spawn(PLAN, threading.Event(), lambda percent, message: None)
    driver.commit(PLAN.server_id, 3)


def test_a_driver_is_loaded_by_its_dotted_name(tmp_path: Path):
    settings = Settings(state_dir=tmp_path, driver="app.virt.fake:FakeDriver")
    assert isinstance(load_driver(settings, "n1", "cloud"), FakeDriver)


@pytest.mark.parametrize("name", ["", "app.virt.fake", "app.virt.fake:Nobody", "nowhere:Driver"])
def test_a_driver_that_is_not_there_is_refused_by_name(name: str):
    with pytest.raises(Invalid) as caught:
        load_driver(Settings(driver=name), "n1", "cloud")
    assert "setting driver" in caught.value.message


def test_faults_strike_as_often_as_told():
    faults = Faults("spawn=2*, n2/stop=always, commit=once!, start=0", "n1")
    for _ in range(2):
        with pytest.raises(HostFault) as caught:
            faults.check("spawn")
        assert caught.value.retriable
    faults.check("spawn")
    faults.check("stop")
    faults.check("start")
    with pytest.raises(HostFault) as caught:
        faults.check("commit")
    assert not caught.value.retriable
    with pytest.raises(HostFault):
        Faults("n2/stop=always", "n2").check("stop")


@pytest.mark.parametrize("rules", ["spawn", "=once", "spawn=sometimes", "spawn=x*"])
def test_a_rule_that_cannot_be_read_is_refused(rules: str):
    with pytest.raises(Invalid):
        Faults(rules, "n1")


def test_guests_outlive_the_driver_and_hosts_are_apart(tmp_path: Path):
    running(fake(tmp_path))
    assert fake(tmp_path).find(PLAN.server_id).power_state == RUNNING
    assert fake(tmp_path, "n2").find(PLAN.server_id) is None
    assert fake(tmp_path).facts().uuid != fake(tmp_path, "n2").facts().uuid


def test_a_simulated_host_can_lose_power_and_guests(tmp_path: Path):
    driver = fake(tmp_path)
    running(driver)
    boot_id = driver.inventory().boot_id
    driver.reboot_host()
    assert driver.inventory().boot_id != boot_id
    assert driver.find(PLAN.server_id).power_state == SHUTDOWN
    driver.crash(PLAN.server_id)
    assert driver.find(PLAN.server_id).power_state == CRASHED
    driver.lose(PLAN.server_id)
    assert driver.find(PLAN.server_id) is None
    assert driver.inventory().disks == (PLAN.server_id,)


def test_a_guest_that_powers_itself_off_is_heard_of(tmp_path: Path):
    driver = fake(tmp_path)
    heard = threading.Event()
    driver.listen(lambda server, event, state: heard.set() if event == "stopped" else None)
    running(driver)
    driver.power_off_itself(PLAN.server_id)
    assert heard.wait(5)
