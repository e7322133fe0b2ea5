"""A lack of hosts that may pass is waited for; one that will not is told at once."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from app.domain.message import Fault
from app.models import Action, Cleanup, Host, now
from app.store import actions, claims
from app.store.database import transaction
from app.tasks.control import claim, schedule, verdict
from tests.asking import add_image, caller, create
from tests.cloud import Cloud
from tests.integration.host_rows import add_host


def asked(cloud: Cloud, count: int = 1) -> list[str]:
    """Accept servers that nobody rings; their actions."""
    who = caller(cloud)
    made = create(cloud, who, add_image(cloud, who.project_id), count=count, ring=False)
    return [action for _, action in made]


def decide(cloud: Cloud, action_id: str) -> list[str]:
    """Run the stage `schedule` of the action's request; who ended."""
    with transaction() as session:
        return [one.id for one in schedule.schedule(session, cloud.action(action_id).request_id)]


def set_host(name: str, **values: object) -> None:
    with transaction() as session:
        session.execute(update(Host).where(Host.name == name).values(**values))


def fail(cloud: Cloud, action_id: str, fault: Fault) -> None:
    """The chosen host builds it and reports `fault`, and that nothing of it is left."""
    assert decide(cloud, action_id) == []
    with transaction() as session:
        claim.claim(session, cloud.action(action_id).request_id)
    with transaction() as session:
        held = actions.lock(session, action_id)
        assert held is not None
        action, server = held
        assert action.host is not None
        verdict.build_failed(session, action, server, fault)
        claims.release(session, server.id, action.host)
        action.host = server.host = None
        verdict.after_undo(session, action, server)


def test_a_request_waits_for_the_only_host_that_it_fits_on(cloud: Cloud) -> None:
    add_host("n1", 1, state="down", last_seen=now())
    [action_id] = asked(cloud)
    assert decide(cloud, action_id) == []
    action = cloud.action(action_id)
    assert (action.stage, action.finished_at) == ("schedule", None)
    assert "waiting for 1 of the hosts" in (action.message or "")
    assert action.next_ring_at - action.created_at < 10
    revision = action.revision
    assert decide(cloud, action_id) == []
    assert cloud.action(action_id).revision == revision, "it is told once"
    set_host("n1", state="up")
    assert decide(cloud, action_id) == []
    assert (cloud.action(action_id).stage, cloud.action(action_id).selection) == ("claim", ["n1"])


def test_a_wait_for_hosts_ends_when_patience_does(cloud: Cloud) -> None:
    add_host("n1", 1, state="down", last_seen=now())
    first, second = asked(cloud, count=2)
    assert decide(cloud, first) == []
    with transaction() as session:
        session.execute(update(Action).where(Action.id == first).values(args={"waits_until": 1.0}))
    assert decide(cloud, first) == [first], "the other one's time is not over"
    fault = cloud.action(first).fault or {}
    assert fault["code"] == "no_valid_host"
    assert "0 of 1 hosts fit: 1 is not enabled and up" in fault["message"]
    assert cloud.action(second).finished_at is None


@pytest.mark.parametrize(
    "host",
    [
        {"state": "down", "last_seen": 1.0},
        {"state": "down", "last_seen": now(), "enabled": False},
        {"state": "down", "last_seen": now(), "forced_down": True},
        {"state": "down", "last_seen": now(), "ram_mb": 600},
        {"state": "up", "last_seen": now(), "ram_mb": 600},
        {"state": "down", "last_seen": now(), "speaks": 0},
    ],
    ids=["long ago", "disabled", "forced down", "down and small", "up and small", "too old"],
)
def test_nothing_waits_for_a_host_that_would_not_do(cloud: Cloud, host: dict[str, object]) -> None:
    add_host("n1", 1, **host)
    [action_id] = asked(cloud)
    assert decide(cloud, action_id) == [action_id]


@pytest.mark.parametrize("code", ["host_lost", "hypervisor_away", "worker_died"])
def test_a_host_where_something_passing_went_wrong_is_tried_again(cloud: Cloud, code: str) -> None:
    add_host("n1", 1)
    [action_id] = asked(cloud)
    fail(cloud, action_id, Fault(code, "for a moment", retriable=True))
    assert decide(cloud, action_id) == []
    action = cloud.action(action_id)
    assert (action.stage, action.selection, action.tried) == ("claim", ["n1"], ["n1"])


def test_another_host_is_preferred_to_one_that_was_lost_once(cloud: Cloud) -> None:
    add_host("n1", 1, failed_builds=0)
    add_host("n2", 2, failed_builds=5)
    [action_id] = asked(cloud)
    fail(cloud, action_id, Fault("host_lost", "down", retriable=True))
    assert cloud.action(action_id).tried == ["n1"]
    assert decide(cloud, action_id) == []
    assert cloud.action(action_id).selection == ["n2"]


def test_a_host_that_failed_the_build_by_its_own_fault_is_not_tried_again(cloud: Cloud) -> None:
    add_host("n1", 1)
    [action_id] = asked(cloud)
    fail(cloud, action_id, Fault("disk_full", "no space", retriable=True))
    assert decide(cloud, action_id) == [action_id]
    assert "1 is ruled out: tried before" in (cloud.action(action_id).fault or {})["message"]


def test_a_request_waits_until_a_returned_host_has_cleaned_up(cloud: Cloud) -> None:
    add_host("n1", 1, last_seen=now())
    [action_id] = asked(cloud)
    fail(cloud, action_id, Fault("host_lost", "down", retriable=True))
    server_id = cloud.action(action_id).server_id
    with transaction() as session:
        session.add(Cleanup(server_id=server_id, host="n1", fence=1, next_ring_at=now()))
    assert decide(cloud, action_id) == []
    assert cloud.action(action_id).stage == "schedule"
    with transaction() as session:
        session.query(Cleanup).delete()
    assert decide(cloud, action_id) == []
    assert cloud.action(action_id).stage == "claim"
