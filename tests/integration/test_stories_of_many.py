"""Stories of much at once: a hundred builds on one host, fifty actions and a Redis that forgets."""

from __future__ import annotations

import time

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.models import Action, Host, Quota, now
from tests.asking import add_image, caller, create, request
from tests.cloud import Cloud, eventually
from tests.matrix import record

DEADLINE = 15.0


def room(cloud: Cloud) -> Caller:
    """The cloud's member, who may have as many servers as the hosts take."""
    who = caller(cloud)
    with Session(cloud.engine) as session, session.begin():
        for resource in ("instances", "cores", "ram"):
            session.add(Quota(project_id=who.project_id, resource=resource, hard_limit=-1))
        for host in session.scalars(select(Host)):
            host.cpu_ratio = 16.0
    return who


def unfinished(cloud: Cloud) -> list[Action]:
    """The actions that have not ended."""
    return cloud.scalars(select(Action).where(Action.finished_at.is_(None)))


def test_of_a_hundred_builds_on_one_host_none_expires_and_a_stop_is_prompt(cloud: Cloud) -> None:
    # A sweep keeps deadlines once it was healthy for `down_after`; builds wait longer than both.
    cloud.settings |= {"down_after": "8", "session_seconds": "5", "fake_delay": "0.7"}
    cloud.settings |= {"slow_deadline": str(DEADLINE), "progress_deadline": str(DEADLINE)}
    cloud.start_control()
    cloud.start_host("n1")
    cloud.hosts_up("n1")
    who = room(cloud)
    image = add_image(cloud, who.project_id)
    [(running, action_id)] = create(cloud, who, image)
    cloud.finished(action_id)
    begun = time.monotonic()
    made = create(cloud, who, image, count=100)
    eventually(lambda: 10 < len(unfinished(cloud)) < 90, 60, "some are built, most wait")
    slowest = 0.0
    for kind in ("stop", "start", "stop"):
        asked = time.monotonic()
        assert cloud.finished(request(who, running, kind)).state == "succeeded"
        slowest = max(slowest, time.monotonic() - asked)
    assert len(unfinished(cloud)) > 10, "builds wait while the stops are done"
    assert slowest < 3, f"a stop took {slowest:.1f} s behind a hundred builds"
    ended = [cloud.finished(action_id, 120) for _, action_id in made]
    assert time.monotonic() - begun > DEADLINE, "they waited past the deadlines of what runs"
    assert {(one.state, one.tries) for one in ended} == {("succeeded", 0)}, [
        one.fault for one in ended if one.fault
    ]


def test_redis_forgets_everything_while_fifty_actions_are_unfinished(cloud: Cloud) -> None:
    cloud.settings |= {"beat_seconds": "5", "fake_delay": "1", "builds_per_host": "8"}
    cloud.start_control()
    for host in ("n1", "n2"):
        cloud.start_host(host)
    cloud.hosts_up("n1", "n2", seconds=60)
    who = room(cloud)
    image = add_image(cloud, who.project_id)
    living = create(cloud, who, image, count=10)
    for _, action_id in living:
        assert cloud.finished(action_id).state == "succeeded"
    builds = [action_id for _, action_id in create(cloud, who, image, count=40)]
    stops = [request(who, server_id, "stop", ring=False) for server_id, _ in living]
    assert len(unfinished(cloud)) == 50
    with cloud.engine.begin() as connection:  # rung so often already that the next is far away
        connection.execute(
            update(Action).where(Action.finished_at.is_(None)).values(next_ring_at=now() + 25)
        )
    cloud.redis().flushall()
    begun = time.monotonic()
    ended = [cloud.finished(action_id, 60) for action_id in stops]
    record("redis-flushed", "ten stops", time.monotonic() - begun, "while 40 builds go on")
    ended += [cloud.finished(action_id, 90) for action_id in builds]
    assert {(one.state, one.tries) for one in ended} == {("succeeded", 0)}, [
        one.fault for one in ended if one.fault
    ]
    states = {server_id: cloud.server(server_id).vm_state for server_id, _ in living}
    assert set(states.values()) == {"stopped"}
