"""The pipeline on real Redis and real worker processes, with the fake driver."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.result import AsyncResult
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.celery import make_app
from app.domain.caller import Caller
from app.models import Allocation, Cleanup, Host, Port, Quota
from tests.asking import add_image, adopt, caller, create, request
from tests.cloud import Cloud, eventually, running
from tests.postgres import fresh_database


@pytest.fixture(params=["sqlite", "postgresql"])
def fleet(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """A cloud with a scheduler worker and two hosts, on either database."""
    url = ""
    if request.param == "postgresql":
        url = fresh_database(request.getfixturevalue("postgres"), f"p{uuid.uuid4().hex}")
    with running(Cloud(tmp_path, database_url=url)) as cloud:
        adopt(cloud, monkeypatch)
        cloud.start_control()
        cloud.start_host("n1")
        cloud.start_host("n2")
        cloud.hosts_up("n1", "n2")
        yield cloud


def test_a_create_goes_through_every_stage_and_ends_active(fleet: Cloud) -> None:
    who = caller(fleet)
    [(server_id, action_id)] = create(fleet, who, add_image(fleet, who.project_id))
    action = fleet.finished(action_id)
    assert (action.state, action.fault) == ("succeeded", None)
    assert fleet.events(action_id) == [
        (stage, "do", "succeeded") for stage in ("schedule", "claim", "build", "commit", "resume")
    ]
    server = fleet.server(server_id)
    assert (server.vm_state, server.task_state, server.power_state) == ("active", None, 1)
    assert server.host in ("n1", "n2")
    result = AsyncResult(action_id, app=make_app())
    assert eventually(lambda: result.state == "SUCCESS", 5)
    assert result.result["server_id"] == server_id


def test_power_operations_and_delete_leave_nothing_behind(fleet: Cloud) -> None:
    who = caller(fleet)
    [(server_id, action_id)] = create(fleet, who, add_image(fleet, who.project_id))
    fleet.finished(action_id)
    for kind, args, state in (
        ("stop", {}, "stopped"),
        ("start", {}, "active"),
        ("reboot", {"type": "SOFT"}, "active"),
        ("reboot", {"type": "HARD"}, "active"),
    ):
        ended = fleet.finished(request(who, server_id, kind, **args))
        assert (ended.kind, ended.state) == (ended.kind, "succeeded"), ended.fault
        assert fleet.server(server_id).vm_state == state
    assert fleet.finished(request(who, server_id, "delete")).state == "succeeded"
    assert fleet.server(server_id).deleted_at is not None
    for table in (Allocation, Port, Cleanup):
        assert fleet.scalars(select(table)) == []
    assert {host.used_ram_mb for host in fleet.scalars(select(Host))} == {0}


def test_servers_of_one_request_spread_over_the_hosts(fleet: Cloud) -> None:
    who = caller(fleet)
    made = create(fleet, who, add_image(fleet, who.project_id), count=6)
    for _, action_id in made:
        assert fleet.finished(action_id).state == "succeeded"
    placed = sorted(str(fleet.server(server_id).host) for server_id, _ in made)
    assert placed == ["n1"] * 3 + ["n2"] * 3


def test_two_scheduler_workers_never_claim_more_than_there_is(fleet: Cloud) -> None:
    fleet.start_control("control-2")
    who = caller(fleet)
    image = add_image(fleet, who.project_id)
    with Session(fleet.engine) as session, session.begin():
        for resource in ("instances", "cores", "ram"):
            session.add(Quota(project_id=who.project_id, resource=resource, hard_limit=-1))
        for host in session.scalars(select(Host)):
            host.cpu_ratio = 10 / host.vcpus  # room for ten servers on each of the two
    made = []
    for _ in range(6):
        asker = Caller(who.user_id, who.project_id, who.roles, f"req-{uuid.uuid4()}")
        made += create(fleet, asker, image, count=4, min_count=1)
    states = [fleet.finished(action_id, 60).state for _, action_id in made]
    assert sorted(states) == ["failed"] * 4 + ["succeeded"] * 20
    for host in fleet.scalars(select(Host)):
        claimed = fleet.scalars(select(Allocation).where(Allocation.host == host.name))
        assert (len(claimed), host.used_vcpus) == (10, 10)
        assert host.used_ram_mb == sum(one.ram_mb for one in claimed)
