"""Rolling upgrades: workers of two message versions on the same queues, and one nobody knows."""

from __future__ import annotations

import sys

from celery.result import AsyncResult
from sqlalchemy import select

from app.celery import make_app
from app.domain.message import VERSION, Key, Outcome, host_message, outcome, to_message
from app.models import Action, Host, Server
from app.publisher import publisher
from app.store.database import reading, transaction
from app.tasks import board, messages, publish
from tests.asking import add_image, caller, create, request
from tests.cloud import Cloud, eventually

OTHER = "tests.integration.other_version"


def start_other(cloud: Cloud, name: str, queues: str, versions: str) -> None:
    """Start a worker of another release, which speaks `versions`."""
    argv = [sys.executable, "-m", "celery", "-A", OTHER, "worker", "-Q", queues]
    cloud.spawn(name, argv, other_versions=versions)


def test_control_and_host_workers_of_two_versions_work_on_the_same_queues(cloud: Cloud) -> None:
    cloud.start_control("control-old")
    start_other(cloud, "control-new", "scheduler,conductor", f"1-{VERSION + 1}")
    cloud.start_host("n1")
    start_other(cloud, "host-n2", "host-n2", f"1-{VERSION + 1}")
    cloud.hosts_up("n1", "n2")
    eventually(
        lambda: sorted(cloud.scalars(select(Host.speaks))) == [VERSION, VERSION + 1],
        10,
        "the sweep has noted what the hosts speak",
    )
    who = caller(cloud)
    image = add_image(cloud, who.project_id)
    made = [create(cloud, who, image)[0] for _ in range(8)]
    for _, action_id in made:
        assert cloud.finished(action_id, 60).state == "succeeded"
    assert {cloud.server(server_id).host for server_id, _ in made} == {"n1", "n2"}
    deleted = [request(who, server_id, "delete") for server_id, _ in made]
    for action_id in deleted:
        assert cloud.finished(action_id, 60).state == "succeeded"
    for name in ("host-n1", "host-n2"):
        assert "message refused" not in cloud.log(name)
    assert "inventory refused" not in cloud.log("control-old")


def test_an_old_worker_refuses_a_newer_outcome_and_a_new_one_takes_it(cloud: Cloud) -> None:
    cloud.start_control("control-old")
    cloud.start_host("n1")
    cloud.hosts_up("n1")
    who = caller(cloud)
    [(server_id, action_id)] = create(cloud, who, add_image(cloud, who.project_id), ring=False)
    told = Outcome(Key(action_id, 1, "schedule"), server_id, "n1", "done", version=VERSION + 1)
    settle = publish.settle(publisher(), action_id).clone(args=(to_message(told),))
    settle.apply_async()
    eventually(lambda: "outcome refused" in cloud.log("control-old"), 20)
    assert f"this worker knows 1 to {VERSION}" in cloud.log("control-old")
    assert "Traceback" not in cloud.log("control-old")
    assert AsyncResult(action_id, app=make_app()).state != "FAILURE"
    assert cloud.finished(action_id).state == "succeeded"


def test_a_message_that_no_one_knows_is_refused_politely_and_rung_again(cloud: Cloud) -> None:
    cloud.start_control()
    cloud.start_host("n1")
    cloud.hosts_up("n1")
    who = caller(cloud)
    [(server_id, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
    assert cloud.finished(action_id).state == "succeeded"
    stop = request(who, server_id, "stop", ring=False)
    with reading() as session:
        action, server = session.get_one(Action, stop), session.get_one(Server, server_id)
        message = messages.for_stage(session, action, server, session.get_one(Host, "n1"))
    publish.on_host(publisher(), "stop", message | {"version": 99}).apply_async()
    eventually(lambda: "message refused" in cloud.log("host-n1"), 20)
    assert "message version 99" in cloud.log("host-n1")
    assert "bring all workers to one release" in cloud.log("host-n1")
    assert cloud.finished(stop).state == "succeeded"
    assert "Traceback" not in cloud.log("host-n1")


def test_a_host_that_is_too_old_is_sent_nothing_and_its_tasks_say_so(cloud: Cloud) -> None:
    cloud.start_control()
    cloud.start_host("n1")
    cloud.hosts_up("n1")
    who = caller(cloud)
    [(server_id, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
    assert cloud.finished(action_id).state == "succeeded"
    cloud.kill("control")
    start_other(cloud, "control-new", "scheduler,conductor", "3-4")
    stop = request(who, server_id, "stop", ring=False)
    waiting = eventually(lambda: cloud.action(stop).message, 20)
    assert waiting == (
        "waiting: host n1 runs an older version: it knows messages up to version 2, this "
        "scheduler sends 3 to 4; upgrade it"
    )
    assert "received" not in cloud.log("host-n1").split("resume")[-1]
    cloud.kill("host-n1")
    start_other(cloud, "host-n1", "host-n1", "3-4")
    done = cloud.finished(stop)
    assert (done.state, done.message) == ("succeeded", None)


def test_a_host_of_version_1_is_sent_nothing_that_it_would_get_wrong(cloud: Cloud) -> None:
    cloud.start_control()
    cloud.start_host("n1")
    cloud.hosts_up("n1")
    who = caller(cloud)
    image = add_image(cloud, who.project_id)
    [(server_id, action_id)] = create(cloud, who, image)
    assert cloud.finished(action_id).state == "succeeded"
    cloud.kill("host-n1")
    start_other(cloud, "host-n1-old", "host-n1", "1-1")
    eventually(lambda: cloud.scalars(select(Host.speaks)) == [1], 20, "it is known to be old")
    cloud.hosts_up("n1")
    says = (
        "waiting: host n1 runs an older version: it knows messages up to version 1, and this one "
        "is of version 2; upgrade it"
    )
    pause = request(who, server_id, "pause")
    eventually(lambda: cloud.action(pause).message == says, 20, "it does not know how to pause")
    with transaction() as session:
        session.get_one(Action, pause).deadline = 1.0
    assert cloud.finished(pause).state == "failed"
    assert cloud.finished(request(who, server_id, "stop")).state == "succeeded"
    [(_, refused)] = create(cloud, who, image)
    fault = cloud.finished(refused).fault or {}
    assert fault["code"] == "no_valid_host"
    start = request(who, server_id, "start")
    eventually(lambda: cloud.action(start).message == says, 20, "it would not guard its ports")
    cloud.kill("host-n1-old")
    cloud.start_host("n1")
    done = cloud.finished(start)
    assert (done.state, done.message) == ("succeeded", None)


def test_fields_that_a_newer_sender_adds_are_left_out() -> None:
    told = to_message(Outcome(Key("a", 1, "build"), "s", "n1", "done"))
    newer = told | {"colour": "blue", "key": told["key"] | {"shade": 1}}
    assert outcome(newer) == outcome(told)
    message = {
        "cloud_id": "c", "key": told["key"], "kind": "create", "server_id": "s", "host": "n1",
        "host_uuid": "u", "session": "s", "request_id": "r", "args": {}, "plan": None,
        "version": VERSION, "colour": "blue",
    }  # fmt: skip
    assert host_message(message).server_id == "s"


def test_a_beat_of_another_release_is_read_all_the_same(cloud: Cloud) -> None:
    beat = board.Beat("n9", "c", "u", "s", 1, True, 0, (board.Sighting(Key("a", 1, "build")),))
    told = board.asdict(beat) | {"version": 7, "speaks": 9, "colour": "blue"}
    told["tasks"][0]["colour"] = "blue"
    board.client().sadd("hosts", "n9", "n8")
    board.client().set("hb:n9", board.json.dumps(told))
    board.client().set("hb:n8", "[]")
    [read] = board.beats()
    assert (read.host, read.speaks, read.tasks) == ("n9", 9, beat.tasks)
