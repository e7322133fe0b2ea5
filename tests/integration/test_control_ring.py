"""The ring's limits, what waiting tasks say, and what is forgotten; real Redis, one sweep here."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery.exceptions import Ignore
from sqlalchemy import func, select, update

from app.celery import make_app
from app.domain.resources import Resources
from app.domain.states import SUCCEEDED
from app.models import (
    Action,
    ActionEvent,
    Allocation,
    Cleanup,
    Host,
    Port,
    QuotaUsage,
    Server,
    new_id,
)
from app.publisher import publisher
from app.sealing import SEALED, seal
from app.store import actions, addresses, claims, purging, ringing, sightings, snapshots
from app.store.actions import key_of
from app.store.database import clock, engine, reading, transaction
from app.tasks import publish
from app.tasks.control import ring, tasks
from app.tasks.control.backlog import LIMIT, Backlog
from tests.asking import add_image, adopt, caller, create, forget_process_state, request
from tests.cloud import Cloud, eventually
from tests.integration.host_rows import add_host
from tests.postgres import fresh_database

MONTH = 31 * 86400.0


def due(**columns: Any) -> None:
    """Make all unfinished actions due."""
    with transaction() as session:
        session.execute(
            update(Action).where(Action.finished_at.is_(None)).values(next_ring_at=0.0, **columns)
        )


def place(server_id: str, host: str, stage: str = "build") -> None:
    """Put a server's action at a stage on a host."""
    with transaction() as session:
        action = actions.unfinished(session, server_id)
        assert action is not None
        server = session.get_one(Server, server_id)
        action.host = server.host = host
        actions.enter(session, action, server, stage, slow=stage == "build")


@pytest.fixture
def here(cloud: Cloud) -> Cloud:
    """The cloud, whose Celery app is this process's own."""
    make_app().set_current()
    return cloud


def test_control_stages_are_not_rung_into_a_queue_of_over_500(here: Cloud) -> None:
    who = caller(here)
    made = create(here, who, add_image(here, who.project_id), count=3, ring=False)
    [(on_host, _)] = create(here, who, add_image(here, who.project_id), ring=False)
    add_host("n1", 1)
    place(on_host, "n1")
    redis = here.redis()
    for _ in range(LIMIT + 100):
        publish.control(publisher(), "schedule", "req-nobody").apply_async()
    due(rings=1)
    backlog = Backlog()
    ring.ring_due(backlog)
    assert redis.llen("scheduler") == LIMIT + 100
    assert redis.llen("host-n1") == 1, "what is for hosts is rung all the same"
    for _, action_id in made:
        held_back = here.action(action_id)
        assert held_back.rings == 1, "a ring that did not happen does not count"
        with reading() as session:
            assert 3 < held_back.next_ring_at - clock(session) < 6
    redis.ltrim("scheduler", 0, 0)
    due()
    ring.ring_due(backlog)
    assert redis.llen("scheduler") == 1, "each queue is counted once a pass"
    ring.ring_due(Backlog())
    due()
    ring.ring_due(Backlog())
    assert redis.llen("scheduler") == 2, "one message a request"


def test_hosts_are_not_rung_while_over_500_outcomes_wait(here: Cloud) -> None:
    who = caller(here)
    [(on_host, action_id)] = create(here, who, add_image(here, who.project_id), ring=False)
    add_host("n1", 1)
    place(on_host, "n1")
    with transaction() as session:
        session.add(Cleanup(server_id=on_host, host="n1", fence=1, next_ring_at=0.0))
    redis = here.redis()
    for _ in range(LIMIT + 1):
        publish.control(publisher(), "settle", {}).apply_async()
    due(rings=1)
    ring.ring_due(Backlog())
    assert redis.llen("host-n1") == 0, "it would tell its outcome again, behind all the others"
    held_back = here.action(action_id)
    assert held_back.rings == 1
    with reading() as session:
        assert 3 < held_back.next_ring_at - clock(session) < 6
    redis.ltrim("conductor", 0, 0)
    due()
    ring.ring_due(Backlog())
    assert redis.llen("host-n1") == 2


def test_builds_do_not_wait_for_copies_of_disks(here: Cloud) -> None:
    add_host("n1", 1)
    who = caller(here, "admin")
    image = add_image(here, who.project_id)
    copied = create(here, who, image, count=ringing.DISPATCHED_COPIES + 2, ring=False)
    for server_id, _ in copied:
        with transaction() as session:
            server = session.get_one(Server, server_id)
            server.vm_state, server.host, server.launched_at = "active", "n1", 1.0
            created = actions.unfinished(session, server_id)
            assert created is not None
            actions.finish(session, created, server, SUCCEEDED)
            snapshots.make(session, who, server_id, snapshots.WantedImage("copy"))
    _free_quota(who.project_id)
    for server_id, _ in create(here, who, image, count=3, ring=False):
        place(server_id, "n1")
    due(rings=0)
    ring.ring_due(Backlog())
    assert here.redis().llen("host-n1") == ringing.DISPATCHED_COPIES + 3


def test_what_no_message_can_be_made_of_does_not_keep_others_back(here: Cloud) -> None:
    who = caller(here)
    made = create(here, who, add_image(here, who.project_id), count=2, ring=False)
    add_host("n1", 1)
    for server_id, _ in made:
        with transaction() as session:
            server = session.get_one(Server, server_id)
            server.vm_state, server.host, server.launched_at = "active", "n1", 1.0
            created = actions.unfinished(session, server_id)
            assert created is not None
            actions.finish(session, created, server, SUCCEEDED)
    (broken, _), (sound, _) = made
    secret = seal(["a key that is gone"], {"password": "p"})
    args = {"user": "root", SEALED: secret}
    lost = request(who, broken, "changePassword", **args)  # rings at once, and does not raise
    request(who, sound, "stop", ring=False)
    due(rings=0)
    ring.ring_due(Backlog())
    assert here.redis().llen("host-n1") == 1
    assert here.action(lost).finished_at is None, "until its deadline"


def test_a_queue_whose_length_cannot_be_told_is_rung(cloud: Cloud) -> None:
    cloud.kill("redis")
    assert not Backlog().is_long("scheduler")


def test_an_inventory_that_cannot_be_compared_now_is_no_failed_task(here: Cloud) -> None:
    here.kill("redis")
    with pytest.raises(Ignore):
        tasks.reconcile.run("n1")


def test_no_more_than_32_slow_actions_are_with_a_host(here: Cloud) -> None:
    add_host("n1", 1)
    who = caller(here, "admin")
    image = add_image(here, who.project_id)
    made = [one for _ in range(4) for one in create(here, who, image, count=9, ring=False)
            if _free_quota(who.project_id)]  # fmt: skip
    for server_id, _ in made:
        place(server_id, "n1")
    due(rings=0)
    ring.ring_due(Backlog())
    assert here.redis().llen("host-n1") == ringing.DISPATCHED == 32
    waiting = [a for a in (here.action(action_id) for _, action_id in made) if not a.rings]
    assert len(waiting) == 4
    with transaction() as session:
        assert ringing.overdue(session, ringing.Limits(0.0, 0.0, 0.0, 0.0), ["build"]) == [], (
            "the time of a build runs from its start"
        )


def _free_quota(project_id: str) -> bool:
    """Let the project use as much again."""
    with transaction() as session:
        session.execute(
            update(QuotaUsage).where(QuotaUsage.project_id == project_id).values(in_use=0)
        )
    return True


def test_a_task_says_which_host_it_waits_for_until_it_goes_on(cloud: Cloud) -> None:
    cloud.settings |= {"down_after": "3", "session_seconds": "1.5", "beat_seconds": "0.5"}
    cloud.start_control()
    cloud.start_host("n1")
    cloud.hosts_up("n1")
    who = caller(cloud)
    [(server_id, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
    assert cloud.finished(action_id).state == SUCCEEDED
    cloud.kill("host-n1")
    stop = request(who, server_id, "stop")
    text = eventually(lambda: cloud.action(stop).message, 20)
    assert text.startswith("waiting for host n1, which does not answer (last heard of at 20")
    revision = cloud.action(stop).revision
    cloud.start_host("n1")
    done = cloud.finished(stop)
    assert (done.state, done.message) == (SUCCEEDED, None)
    assert done.revision > revision


# Purging


@pytest.fixture(params=["sqlite", "postgresql"])
def rows(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """A cloud's database of either kind, and nothing that runs."""
    url = ""
    if request.param == "postgresql":
        url = fresh_database(request.getfixturevalue("postgres"), f"p{uuid.uuid4().hex}")
    made = Cloud(tmp_path, database_url=url)
    made.prepare()
    adopt(made, monkeypatch)
    yield made
    engine().dispose()
    made.stop()
    forget_process_state()


def deleted_long_ago(cloud: Cloud) -> str:
    """A server that was deleted a month ago, with an address."""
    who = caller(cloud)
    [(server_id, _)] = create(cloud, who, add_image(cloud, who.project_id), ring=False)
    request(who, server_id, "delete", ring=False)
    with transaction() as session:
        server = session.get_one(Server, server_id)
        assert server.deleted_at is not None
        server.deleted_at -= MONTH
        assert not addresses.allocate(session, [server])
    return server_id


def count(table: Any) -> int:
    """How many rows a table has."""
    with reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_a_server_that_was_deleted_a_month_ago_is_forgotten_with_all_of_it(rows: Cloud) -> None:
    deleted_long_ago(rows)
    who = caller(rows)
    [(kept, _)] = create(rows, who, add_image(rows, who.project_id), ring=False)
    request(who, kept, "delete", ring=False)
    with transaction() as session:
        assert purging.servers(session, 30) == 1
        assert purging.servers(session, 30) == 0
    assert rows.scalars(select(Server.id)) == [kept]
    assert set(rows.scalars(select(Action.server_id))) == {kept}
    assert count(ActionEvent) == count(Action) + 1
    assert count(Port) == 0


@pytest.mark.parametrize("what", ["cleanup", "claim"])
def test_a_server_that_a_host_still_has_something_of_is_not_forgotten(
    rows: Cloud, what: str
) -> None:
    server_id = deleted_long_ago(rows)
    add_host("n1", 1)
    with transaction() as session:
        if what == "cleanup":
            session.add(Cleanup(id=new_id(), server_id=server_id, host="n1", fence=3,
                                next_ring_at=0.0))  # fmt: skip
        else:
            claims.take(session, {server_id: "n1"}, {server_id: Resources(1, 192, 1)})
    with transaction() as session:
        assert purging.servers(session, 30) == 0
    with transaction() as session:
        session.execute(Cleanup.__table__.delete())  # type: ignore[attr-defined]
        claims.release(session, server_id, "n1")
    with transaction() as session:
        assert purging.servers(session, 30) == 1
    assert (count(Allocation), set(rows.scalars(select(Host.used_ram_mb)))) == (0, {0})


def test_old_actions_of_a_living_server_go_but_for_the_one_that_made_it(rows: Cloud) -> None:
    who = caller(rows)
    [(server_id, made)] = create(rows, who, add_image(rows, who.project_id), ring=False)
    with transaction() as session:
        server = session.get_one(Server, server_id)
        created = session.get_one(Action, made)
        actions.finish(session, created, server, SUCCEEDED)
        server.vm_state, server.host, server.launched_at = "active", "n1", 1.0
    add_host("n1", 1)
    stop = request(who, server_id, "stop", ring=False)
    with transaction() as session:
        stopped, server = session.get_one(Action, stop), session.get_one(Server, server_id)
        actions.finish(session, stopped, server, SUCCEEDED)
    running = request(who, server_id, "stop", ring=False)
    with transaction() as session:
        session.execute(
            update(Action).where(Action.finished_at.is_not(None))
            .values(finished_at=Action.finished_at - MONTH)
        )  # fmt: skip
        assert purging.old_actions(session, 30) == 1
    assert set(rows.scalars(select(Action.id))) == {made, running}


def test_a_sighting_of_an_older_fence_changes_nothing(rows: Cloud) -> None:
    who = caller(rows)
    [(server_id, action_id)] = create(rows, who, add_image(rows, who.project_id), ring=False)
    add_host("n1", 1)
    place(server_id, "n1")
    with transaction() as session:
        action, server = session.get_one(Action, action_id), session.get_one(Server, server_id)
        old = key_of(action, server)
        server.fence += 1
        now = key_of(action, server)
    with transaction() as session:
        sightings.note(session, [(old, "n1", 50, "half", True), (now, "n2", 60, "", True)])
    assert rows.action(action_id).progress == 0
    with transaction() as session:
        sightings.note(session, [(old, "n1", 50, "half", True), (now, "n1", 70, "", True)])
    seen = rows.action(action_id)
    assert (seen.progress, seen.message) == (70, None)
    assert seen.stage_started_at is not None
