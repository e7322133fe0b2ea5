"""What dies or fails, and how the request ends all the same; fake driver, real processes."""

from __future__ import annotations

import time

import pytest
from celery.result import AsyncResult
from sqlalchemy import select

from app.celery import make_app
from app.domain.new_servers import FlavorCopy
from app.domain.resources import Resources
from app.errors import Conflict
from app.models import Allocation, Cleanup, Host, Port
from tests.asking import add_image, caller, create, request
from tests.cloud import Cloud, allowed, eventually


def nothing_is_held(cloud: Cloud) -> None:
    """No claim, no address, no cleanup, no use."""
    for table in (Allocation, Port, Cleanup):
        assert cloud.scalars(select(table)) == []
    assert {host.used_ram_mb for host in cloud.scalars(select(Host))} == {0}


def builds(cloud: Cloud, action_id: str) -> bool:
    """Whether a host has begun the action's build, as its heartbeat told."""
    action = cloud.action(action_id)
    return action.stage == "build" and action.stage_started_at is not None


def test_a_build_that_fails_on_one_host_succeeds_on_another(cloud: Cloud) -> None:
    cloud.start_control()
    cloud.start_host("n1", fake_faults="spawn=once")
    cloud.start_host("n2", fake_faults="spawn=once")
    cloud.start_host("n3")
    cloud.hosts_up("n1", "n2", "n3")
    who = caller(cloud)
    made = create(cloud, who, add_image(cloud, who.project_id), count=3)
    for server_id, action_id in made:
        action = cloud.finished(action_id)
        assert action.state == "succeeded", action.fault
        assert cloud.server(server_id).fault is None
        result = AsyncResult(action_id, app=make_app())
        assert eventually(lambda result=result: result.state == "SUCCESS", 5)
    retried = [cloud.action(action_id) for _, action_id in made]
    assert sum(action.tries for action in retried) == 2
    assert all(
        ("build", "do", "failed") in cloud.events(action.id) for action in retried if action.tries
    )


def test_a_build_that_fails_everywhere_ends_in_a_fault_that_names_host_and_stage(
    cloud: Cloud,
) -> None:
    cloud.start_control()
    cloud.start_host("n1", fake_faults="spawn=always")
    cloud.hosts_up("n1")
    who = caller(cloud)
    [(server_id, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
    action = cloud.finished(action_id)
    assert action.state == "failed"
    assert action.fault is not None
    assert action.fault["code"] == "no_valid_host"
    assert (action.fault["stage"], action.fault["host"]) == ("schedule", "n1")
    assert "after 1 failed" in action.fault["message"]
    assert "smaller flavor" in action.fault["todo"]
    assert "1 is ruled out: tried before" in action.fault["message"]
    assert "The last failure: fake fault in spawn" in action.fault["message"]
    server = cloud.server(server_id)
    assert (server.vm_state, server.task_state, server.host) == ("error", None, None)
    result = AsyncResult(action_id, app=make_app())
    assert eventually(lambda: result.state == "FAILURE", 5)
    assert "No valid host" in str(result.result)
    nothing_is_held(cloud)
    deleted = request(who, server_id, "delete")
    assert cloud.finished(deleted).state == "succeeded"
    result = AsyncResult(deleted, app=make_app())
    eventually(lambda: result.state == "SUCCESS", 10, "the delete's result")


def test_no_valid_host_counts_the_hosts_that_each_filter_refused(cloud: Cloud) -> None:
    cloud.start_control()
    cloud.start_host("n1")
    cloud.start_host("n2")
    cloud.hosts_up("n1", "n2")
    who = caller(cloud)
    huge = FlavorCopy("9", "huge", Resources(1, 49_000, 4_000))
    [(_, action_id)] = create(cloud, who, add_image(cloud, who.project_id), flavor=huge)
    action = cloud.finished(action_id)
    assert action.fault is not None
    assert "0 of 2 hosts fit: 2 are short of disk" in action.fault["message"]
    nothing_is_held(cloud)


def test_a_delete_stops_a_running_build_at_once(cloud: Cloud) -> None:
    cloud.start_control()
    cloud.start_host("n1", fake_delay="60")
    cloud.hosts_up("n1")
    who = caller(cloud)
    [(server_id, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
    eventually(lambda: builds(cloud, action_id), 20, "the build begins")
    begun = time.monotonic()
    deleted = request(who, server_id, "delete")
    assert request(who, server_id, "delete") == deleted
    assert cloud.finished(deleted).state == "succeeded"
    assert time.monotonic() - begun < allowed(1.5)
    action = cloud.action(action_id)
    assert (action.state, (action.fault or {})["code"]) == ("cancelled", "pre_empted")
    nothing_is_held(cloud)
    result = AsyncResult(action_id, app=make_app())
    eventually(lambda: result.state == "FAILURE", 10, "the cancelled create's result")


def test_a_stop_does_not_wait_behind_builds(cloud: Cloud) -> None:
    cloud.start_control()
    cloud.start_host("n1")
    cloud.hosts_up("n1")
    who = caller(cloud)
    image = add_image(cloud, who.project_id)
    [(server_id, action_id)] = create(cloud, who, image)
    cloud.finished(action_id)
    cloud.kill("host-n1")
    cloud.start_host("n1", fake_delay="60")
    cloud.hosts_up("n1")
    building = create(cloud, who, image, count=8)
    eventually(
        lambda: sum(cloud.action(a).stage == "build" for _, a in building) == 8, 20, "8 builds"
    )
    begun = time.monotonic()
    assert cloud.finished(request(who, server_id, "stop")).state == "succeeded"
    assert time.monotonic() - begun < allowed(2)
    assert all(cloud.action(a).finished_at is None for _, a in building)


def test_a_host_that_stays_away_loses_its_build_and_cleans_up_on_return(cloud: Cloud) -> None:
    cloud.settings |= {"down_after": "6", "session_seconds": "4"}
    cloud.start_control()
    cloud.start_host("n1", fake_delay="60")
    cloud.hosts_up("n1")
    who = caller(cloud)
    [(server_id, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
    eventually(lambda: builds(cloud, action_id), 20, "the build runs")
    cloud.start_host("n2")
    cloud.hosts_up("n2")
    cloud.kill("host-n1")
    action = cloud.finished(action_id, 40)
    assert action.state == "succeeded", action.fault
    assert cloud.server(server_id).host == "n2"
    assert [c.host for c in cloud.scalars(select(Cleanup))] == ["n1"]
    assert len(cloud.scalars(select(Allocation))) == 2
    cloud.start_host("n1")
    eventually(lambda: not cloud.scalars(select(Cleanup)), 30, "n1 has cleaned up")
    assert [a.host for a in cloud.scalars(select(Allocation))] == ["n2"]
    assert cloud.server(server_id).vm_state == "active"


def test_a_delete_does_not_wait_for_a_hypervisor_that_does_not_answer(cloud: Cloud) -> None:
    cloud.settings |= {"down_after": "6", "session_seconds": "4"}
    cloud.start_control()
    cloud.start_host("n1")
    cloud.hosts_up("n1")
    who = caller(cloud)
    [(server_id, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
    cloud.finished(action_id)
    cloud.kill("host-n1")
    cloud.start_host("n1", fake_faults="healthy=always,destroy=always")
    eventually(
        lambda: cloud.scalars(select(Host.state)) == ["driver_down"], 30, "its driver is down"
    )
    assert cloud.finished(request(who, server_id, "delete"), 30).state == "succeeded"
    assert cloud.server(server_id).deleted_at is not None
    assert [owed.host for owed in cloud.scalars(select(Cleanup))] == ["n1"]
    cloud.kill("host-n1")
    cloud.start_host("n1")
    eventually(lambda: not cloud.scalars(select(Cleanup)), 30, "n1 has cleaned up")
    nothing_is_held(cloud)


def test_redis_losing_all_its_data_costs_nothing(cloud: Cloud) -> None:
    cloud.start_control()
    cloud.start_host("n1", fake_delay="3")
    cloud.hosts_up("n1")
    who = caller(cloud)
    made = create(cloud, who, add_image(cloud, who.project_id), count=6)
    eventually(lambda: any(builds(cloud, a) for _, a in made), 20, "builds run")
    cloud.redis().flushall()
    for _, action_id in made:
        assert cloud.finished(action_id, 60).state == "succeeded"


def test_what_was_accepted_while_redis_was_away_runs_when_it_is_back(cloud: Cloud) -> None:
    cloud.start_control()
    cloud.start_host("n1")
    cloud.hosts_up("n1")
    who = caller(cloud)
    image = add_image(cloud, who.project_id)
    cloud.kill("redis")
    begun = time.monotonic()
    [(_, action_id)] = create(cloud, who, image)
    assert time.monotonic() - begun < allowed(3)
    eventually(lambda: cloud.log("control").count("Redis is away") >= 4, 40, "sweeps fail")
    assert cloud.action(action_id).rings == 0, "a ring that nobody heard does not count"
    cloud.start_redis()
    assert cloud.finished(action_id, 60).state == "succeeded"


def test_only_one_action_of_a_server_runs_at_a_time(cloud: Cloud) -> None:
    cloud.start_control()
    cloud.start_host("n1")
    cloud.hosts_up("n1")
    who = caller(cloud)
    [(server_id, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
    cloud.finished(action_id)
    request(who, server_id, "stop", ring=False)
    with pytest.raises(Conflict, match="task_state powering-off"):
        request(who, server_id, "reboot", type="SOFT")


def test_a_worker_whose_agent_cannot_begin_ends_and_says_why(cloud: Cloud) -> None:
    cloud.start_control()
    cloud.start_host("n1", driver="app.virt.fake:NoSuchDriver")
    worker = cloud.processes["host-n1"]
    eventually(lambda: worker.poll() is not None, 20, "the worker ends")
    assert worker.returncode in (70, 78)
    assert "NoSuchDriver" in cloud.log("host-n1")
