"""A host's inventory against the rows: what guests did alone, what was lost, what came back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest
from sqlalchemy import select, update

from app.config import load
from app.models import Allocation, Cleanup, Host, Port, Server
from app.publisher import publisher
from app.store.database import reading
from app.tasks import publish
from app.tasks.control.reconcile import reconcile
from app.virt.fake import FakeDriver
from tests.asking import add_image, caller, create, request
from tests.cloud import Cloud, eventually


@pytest.fixture
def cloud(cloud: Cloud) -> Iterator[Cloud]:
    """A cloud with one host that looks at itself every second."""
    cloud.settings["inventory_seconds"] = "1"
    cloud.start_control()
    cloud.start_host("n1")
    cloud.hosts_up("n1")
    return cloud


def hypervisor(cloud: Cloud) -> FakeDriver:
    """The host's hypervisor, as its owner reaches it behind the cloud's back."""
    driver = FakeDriver("n1", cloud.cloud_id, load(cloud.env()))
    driver.open()
    return driver


def living(cloud: Cloud) -> str:
    """A server that runs."""
    who = caller(cloud)
    [(server_id, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
    assert cloud.finished(action_id).state == "succeeded"
    return server_id


def compared(cloud: Cloud) -> dict[str, Any] | None:
    """The host's newest inventory, if it has been compared."""
    told: dict[str, Any] = json.loads(str(cloud.redis().get("inv:n1")))
    with reading() as session:
        columns = select(Host.generation_session, Host.generation)
        known = tuple(session.execute(columns).one())
    return told if known == (told["session"], told["generation"]) else None


def living_after_restart(cloud: Cloud) -> str:
    """A server on a host whose only inventory, of before it, has been compared."""
    before = str(cloud.scalars(select(Host.session))[0])
    cloud.start_host("n1")
    eventually(lambda: cloud.scalars(select(Host.session)) != [before], 20, "a new session")
    cloud.hosts_up("n1")
    return living(cloud)


def test_a_guest_that_was_switched_off_on_its_host_is_shut_off(cloud: Cloud) -> None:
    server_id = living(cloud)
    hypervisor(cloud).power_off_itself(server_id)
    eventually(lambda: cloud.server(server_id).vm_state == "stopped", 10)
    assert cloud.finished(request(caller(cloud), server_id, "start")).state == "succeeded"


def test_a_guest_that_is_gone_makes_its_server_an_error_and_keeps_its_claim(cloud: Cloud) -> None:
    server_id = living(cloud)
    hypervisor(cloud).lose(server_id)
    eventually(lambda: cloud.server(server_id).vm_state == "error", 10)
    fault = cloud.server(server_id).fault
    assert fault is not None
    assert fault["reason"] == "guest_lost"
    assert len(cloud.scalars(select(Allocation))) == 1
    assert cloud.finished(request(caller(cloud), server_id, "delete")).state == "succeeded"
    assert cloud.scalars(select(Allocation)) == []


def test_a_database_restored_from_a_backup_destroys_nothing(cloud: Cloud) -> None:
    server_id = living(cloud)
    with cloud.engine.begin() as connection:
        connection.execute(
            update(Server).values(fence=0, host=None, vm_state="deleted", deleted_at=1)
        )
    eventually(lambda: "restored from a backup" in cloud.log("control"), 10)
    guest = hypervisor(cloud).find(server_id)
    assert guest is not None
    assert guest.power_state == 1
    assert cloud.scalars(select(Cleanup)) == []


def test_what_comes_back_of_a_deleted_server_is_removed(cloud: Cloud) -> None:
    server_id = living(cloud)
    state = cloud.directory / "hosts/n1/fake.json"
    backup = state.read_text()
    assert cloud.finished(request(caller(cloud), server_id, "delete")).state == "succeeded"
    cloud.kill("host-n1")
    state.write_text(backup)
    cloud.start_host("n1")
    eventually(lambda: hypervisor(cloud).find(server_id) is None, 20, "the old guest is removed")
    eventually(lambda: not cloud.scalars(select(Cleanup)), 10, "nothing is owed")


def test_guests_that_a_stop_of_the_cloud_switched_off_are_started_again(cloud: Cloud) -> None:
    server_id = living(cloud)
    (cloud.directory / "hosts/n1/stopping").touch()
    cloud.kill("host-n1")
    hypervisor(cloud).power_off_itself(server_id)
    cloud.start_host("n1")
    eventually(
        lambda: (guest := hypervisor(cloud).find(server_id)) and guest.power_state == 1,
        20,
        "the guest runs again",
    )
    assert cloud.server(server_id).vm_state == "active"


def test_a_second_machine_under_the_same_name_is_refused(cloud: Cloud) -> None:
    with cloud.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE hosts SET uuid = '00000000-0000-0000-0000-000000000001'")
    worker = cloud.processes["host-n1"]
    eventually(lambda: worker.poll() is not None, 20, "the worker ends")
    assert "belongs to the machine" in cloud.log("host-n1")


def test_an_inventory_from_before_a_delete_leaves_nothing_owed(cloud: Cloud) -> None:
    server_id = living(cloud)
    cloud.settings["inventory_seconds"] = "3600"
    redis = cloud.redis()
    before = json.loads(str(redis.get("inv:n1")))["session"]
    cloud.kill("host-n1")
    cloud.start_host("n1")

    def of_this_session() -> str | None:
        # The inventory of the killed worker lies there until the new one's first.
        told = str(redis.get("inv:n1"))
        return told if server_id in told and json.loads(told)["session"] != before else None

    old = str(eventually(of_this_session, 20, "the guest is in the inventory"))
    eventually(lambda: json.loads(old)["session"] in cloud.scalars(select(Host.session)), 20)
    cloud.hosts_up("n1")
    assert cloud.finished(request(caller(cloud), server_id, "delete")).state == "succeeded"

    numbers = count(1000)  # it was on its way, so it has not been compared

    def told_again() -> bool:
        # Again and again: the host's own next inventory may overwrite the old one.
        redis.set("inv:n1", json.dumps(json.loads(old) | {"generation": next(numbers)}))
        publish.control(publisher(), "reconcile", "n1").apply_async()
        return "removing what moved" in cloud.log("control")

    eventually(told_again, 10)
    eventually(lambda: not cloud.scalars(select(Cleanup)), 20, "nothing is owed")
    assert cloud.scalars(select(Port)) == []


def test_an_inventory_is_compared_once_however_often_it_is_rung(cloud: Cloud) -> None:
    cloud.settings["inventory_seconds"] = "3600"
    cloud.kill("host-n1")
    server_id = living_after_restart(cloud)
    stopped = cloud.finished(request(caller(cloud), server_id, "stop"))
    assert stopped.state == "succeeded"
    told = eventually(lambda: compared(cloud), 20, "the newest inventory is compared")
    # Again as if the guest had been there when it was made, at the fence of before the stop.
    fence = cloud.server(server_id).fence - 1
    guest = {"server_id": server_id, "fence": fence, "committed": True, "power_state": 1}
    cloud.redis().set("inv:n1", json.dumps(told | {"guests": [guest]}))
    assert reconcile("n1") == []
    later = told | {"guests": [guest], "generation": told["generation"] + 1}
    cloud.redis().set("inv:n1", json.dumps(later))
    assert [action.kind for action in reconcile("n1")] == ["sync"], "a newer one is"
