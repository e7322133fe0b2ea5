"""Every message delivered twice, late, and after its undo: the rows and the host stay the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.result import AsyncResult
from sqlalchemy import select

from app.celery import make_app
from app.models import Allocation, Cleanup, Host, Port
from tests.asking import add_image, adopt, caller, create, request
from tests.cloud import Cloud, running
from tests.postman import Postman

BEFORE = {"start": "stop", "unpause": "pause", "resume": "suspend", "unrescue": "rescue"}
"""What makes a server that the operation is legal on."""


def host_dump(cloud: Cloud, host: str) -> object:
    """What the host's hypervisor holds."""
    return json.loads((cloud.directory / f"hosts/{host}/fake.json").read_text())


def everything(cloud: Cloud) -> tuple[object, ...]:
    """Database and hypervisors, for comparing."""
    return (cloud.dump("starts"), host_dump(cloud, "n1"), host_dump(cloud, "n2"))


@pytest.fixture(scope="module")
def stubborn(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Two hosts and a cloud that sends nothing by itself: the tests deliver by hand."""
    directory: Path = tmp_path_factory.mktemp("stubborn")
    made = Cloud(directory, settings={"chain": "false", "inventory_seconds": "3600"})
    with pytest.MonkeyPatch.context() as patch, running(made):
        adopt(made, patch)
        made.start_control()
        made.start_host("n1")
        made.start_host("n2")
        made.hosts_up("n1", "n2")
        yield made


@pytest.fixture
def postman(stubborn: Cloud) -> Postman:
    """A postman with an empty bag."""
    return Postman(stubborn)


def test_a_create_delivered_twice_and_late_runs_once(stubborn: Cloud, postman: Postman) -> None:
    who = caller(stubborn)
    [(server_id, action_id)] = create(stubborn, who, add_image(stubborn, who.project_id))
    postman.deliver(action_id)
    assert stubborn.events(action_id) == [
        (stage, "do", "succeeded") for stage in ("schedule", "claim", "build", "commit", "resume")
    ]
    postman.quiet()
    before = everything(stubborn)
    postman.deliver_late()
    assert everything(stubborn) == before
    assert stubborn.server(server_id).vm_state == "active"
    assert AsyncResult(action_id, app=make_app()).state == "SUCCESS"


@pytest.mark.parametrize(
    ("kind", "args", "end"),
    [
        ("stop", {}, "stopped"),
        ("start", {}, "active"),
        ("reboot", {"type": "SOFT"}, "active"),
        ("reboot", {"type": "HARD"}, "active"),
        ("pause", {}, "paused"),
        ("unpause", {}, "active"),
        ("suspend", {}, "suspended"),
        ("resume", {}, "active"),
        ("trigger_crash_dump", {}, "active"),
        ("rebuild", {}, "active"),
        ("rescue", {}, "rescued"),
        ("unrescue", {}, "active"),
    ],
)
def test_an_operation_delivered_twice_and_late_runs_once(
    stubborn: Cloud, postman: Postman, kind: str, args: dict[str, str], end: str
) -> None:
    who = caller(stubborn)
    [(server_id, action_id)] = create(stubborn, who, add_image(stubborn, who.project_id))
    postman.deliver(action_id, times=1)
    if kind in BEFORE:
        postman.deliver(request(who, server_id, BEFORE[kind]), times=1)
    postman.deliver(request(who, server_id, kind, **args))
    postman.quiet()
    before = everything(stubborn)
    postman.deliver_late()
    assert everything(stubborn) == before
    assert stubborn.server(server_id).vm_state == end
    postman.deliver(request(who, server_id, "delete"), times=1)  # its quota is for the next


def test_nothing_late_brings_a_deleted_server_back(stubborn: Cloud, postman: Postman) -> None:
    who = caller(stubborn)
    [(server_id, action_id)] = create(stubborn, who, add_image(stubborn, who.project_id))
    postman.deliver(action_id)
    postman.deliver(request(who, server_id, "delete"))
    postman.quiet()
    before = everything(stubborn)
    postman.deliver_late()
    assert everything(stubborn) == before
    assert server_id not in str(before[1:])
    assert stubborn.scalars(select(Allocation).where(Allocation.server_id == server_id)) == []


def test_a_build_delivered_after_its_undo_does_nothing(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    cloud.settings |= {"chain": "false", "inventory_seconds": "3600"}
    adopt(cloud, monkeypatch)
    cloud.start_control()
    cloud.start_host("n1", fake_faults="spawn.late=once")
    cloud.start_host("n2", fake_faults="spawn.late=once")
    cloud.hosts_up("n1", "n2")
    who, postman = caller(cloud), Postman(cloud)
    [(server_id, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
    postman.deliver(action_id)
    action = cloud.action(action_id)
    assert action.state == "failed"
    assert sorted(action.tried) == ["n1", "n2"]
    assert [event[:2] for event in cloud.events(action_id)].count(("destroy", "undo")) == 2
    postman.quiet()
    before = everything(cloud)
    postman.deliver_late()
    assert everything(cloud) == before
    assert cloud.server(server_id).vm_state == "error"
    for table in (Allocation, Port, Cleanup):
        assert cloud.scalars(select(table)) == []
    assert {host.used_ram_mb for host in cloud.scalars(select(Host))} == {0}
