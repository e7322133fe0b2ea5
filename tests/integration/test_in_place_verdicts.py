"""What a host's answer makes of an operation in place, whichever it is."""

from __future__ import annotations

from typing import Any

import pytest

from app.domain.guest import PAUSED, RUNNING, SHUTDOWN
from app.domain.message import DONE, FAILED, Fault, Key, Outcome
from app.models import Action, Host, Server
from app.store import actions, database, servers
from app.tasks.control import losses, verdict
from tests.integration.test_web_compute import SERVERS, add_host
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
FOUND = {"size": 1, "virtual_size": 2, "md5": "a", "sha512": "b"}


def answer(task_id: str, code: str = "", **more: Any) -> tuple[str, str | None]:
    """Settle the host's answer, a fault with a code; the action's state and its fault's code."""
    with database.transaction() as session:
        action = session.get_one(Action, task_id)
        server = session.get_one(Server, action.server_id)
        key = Key(action.id, server.fence, action.stage, action.direction)
        fault = Fault(code, "it did not work") if code else None
        outcome = Outcome(key, server.id, "n1", FAILED if code else DONE, fault, **more)
        held = actions.hold(session, key)
        assert held is not None
        verdict.apply(session, *held, outcome)
        return action.state, (action.fault or {}).get("code")


def shown(site: Site, server: str) -> dict[str, Any]:
    return dict(site.get(f"{SERVERS}/{server}").json["server"])


def ask(site: Site, server: str, body: Any) -> str:
    made = site.post(f"{SERVERS}/{server}/action", json=body)
    assert made.status_code < 300, made.text
    return str(made.headers["X-Task-Id"])


def test_a_rebuild_that_failed_goes_back_unless_nobody_knows_which_disk_boots(site: Site) -> None:
    add_host()
    server, image = site.built(), site.add_image()
    before = shown(site, server)
    body = {"rebuild": {"imageRef": image, "name": "other"}}
    assert answer(ask(site, server, body), "image_unreachable") == ("failed", "image_unreachable")
    assert shown(site, server) | {"updated": ""} == before | {"updated": ""}
    assert answer(ask(site, server, body), "half_done") == ("failed", "half_done")
    broken = shown(site, server)
    assert (broken["status"], broken["name"]) == ("ERROR", "other")
    assert "rebuild the server" in broken["fault"]["message"]
    assert answer(ask(site, server, body), power_state=RUNNING) == ("succeeded", None)
    assert shown(site, server)["status"] == "ACTIVE"


def test_a_rebuild_that_its_host_never_began_changes_nothing(site: Site) -> None:
    add_host()
    server, image = site.built(), site.add_image()
    task = ask(site, server, {"rebuild": {"imageRef": image, "name": "other"}})
    with database.transaction() as session:
        session.get_one(Action, task).deadline = 1.0
    with database.transaction() as session:
        ended = losses.expire(session, task)
        assert ended is not None
    assert (shown(site, server)["status"], shown(site, server)["name"]) == ("ACTIVE", "vm")


def test_a_rebuild_that_a_reset_ends_before_it_began_changes_nothing(site: Site) -> None:
    add_host()
    server, image = site.built(), site.add_image()
    before = shown(site, server)
    for began, name in ((None, before["name"]), (1.0, "other")):
        task = ask(site, server, {"rebuild": {"imageRef": image, "name": "other"}})
        with database.transaction() as session:
            action = session.get_one(Action, task)
            action.stage_started_at, action.created_at = began, action.created_at - 60.0
            action.next_ring_at -= 60.0
        reset = {"os-resetState": {"state": "active"}}
        assert site.post(f"{SERVERS}/{server}/action", "admin", json=reset).status_code == 202
        after = shown(site, server)
        assert after["name"] == name
        assert (after["image"] == before["image"]) == (began is None)


@pytest.mark.parametrize(
    ("state", "created", "sent", "heard"),
    [
        ("up", 0.0, 0.0, 0.0),
        ("down", 60.0, 60.0, 0.0),
        ("up", 60.0, 0.0, 0.0),
        ("up", 60.0, 20.0, 0.0),
        ("up", 60.0, 60.0, 55.0),
    ],
    ids=["just accepted", "host is down", "just rung", "rung before", "no beat was swept since"],
)
def test_a_reset_keeps_what_a_rebuild_changed_while_its_host_may_have_begun_unheard(
    site: Site, state: str, created: float, sent: float, heard: float
) -> None:
    """No beat tells yet, or none comes: the guest may have the new disk all the same.

    Seconds ago: accepted, due for a ring, and its host's last beat that was swept.
    """
    add_host(state=state)
    image, server = site.add_image(), site.built()
    task = ask(site, server, {"rebuild": {"imageRef": image, "name": "other"}})
    with database.transaction() as session:
        action, host = session.get_one(Action, task), session.get_one(Host, "n1")
        action.created_at -= created
        action.next_ring_at -= sent
        host.last_seen -= heard
        assert (action.host, action.stage_started_at) == ("n1", None)
    reset = {"os-resetState": {"state": "active"}}
    assert site.post(f"{SERVERS}/{server}/action", "admin", json=reset).status_code == 202
    after = shown(site, server)
    assert (after["name"], after["image"]["id"]) == ("other", image)


def test_a_stopped_server_stays_stopped(site: Site) -> None:
    server, image = site.built(), site.add_image()
    site.set_server(server, vm_state="stopped")
    task = ask(site, server, {"rebuild": {"imageRef": image}})
    assert answer(task, power_state=SHUTDOWN) == ("succeeded", None)
    assert shown(site, server)["status"] == "SHUTOFF"


def test_a_port_goes_when_its_host_says_that_it_was_not_plugged_in(site: Site) -> None:
    server = site.built()
    path = f"{SERVERS}/{server}/os-interface"
    answers = (("address_in_use", 0), ("worker_died", 1), ("half_done", 2), ("", 3))
    for code, ports in answers:
        task = site.post(path, json={}).headers["X-Task-Id"]
        answer(task, code, power_state=RUNNING)
        listed = site.get(path).json["interfaceAttachments"]
        assert (len(listed), {one["port_state"] for one in listed} <= {"ACTIVE"}) == (ports, True)
    for code, ports in (("not_let_go", 3), ("", 2)):
        taken = site.delete(f"{path}/{listed[0]['port_id']}").headers["X-Task-Id"]
        answer(taken, code, power_state=RUNNING)
        assert len(site.get(path).json["interfaceAttachments"]) == ports


def test_an_image_is_in_use_once_its_data_is_there_and_its_row_still_waits(site: Site) -> None:
    server = site.built()
    task = ask(site, server, {"createImage": {"name": "copy"}})
    assert answer(task, found=FOUND, power_state=RUNNING) == ("succeeded", None)
    [made] = [one for one in site.get("/image/v2/images").json["images"] if one["name"] == "copy"]
    assert (made["status"], made["size"], made["os_hash_value"]) == ("active", 1, "b")
    task = ask(site, server, {"createImage": {"name": "gone"}})
    images = site.get("/image/v2/images?name=gone").json["images"]
    site.delete(f"/image/v2/images/{images[0]['id']}")
    assert answer(task, found=FOUND, power_state=RUNNING) == ("failed", "image_gone")
    assert shown(site, server)["status"] == "ACTIVE"


def test_a_rotation_deletes_backups_of_the_makers_project_only(site: Site) -> None:
    server = site.built()
    claims = {"image_type": "backup", "instance_uuid": server, "backup_type": "daily"}
    foreign = site.add_image("other", **claims)
    body = {"createBackup": {"name": "b", "backup_type": "daily", "rotation": 1}}
    for _ in range(2):
        assert answer(ask(site, server, body), found=FOUND) == ("succeeded", None)
    assert len(site.get("/image/v2/images?name=b").json["images"]) == 1
    body["createBackup"]["rotation"] = 0
    ask(site, server, body)
    assert site.get("/image/v2/images?name=b").json["images"] == []
    assert site.get(f"/image/v2/images/{foreign}", "other").json["status"] == "active"


def test_what_a_rotation_goes_by_is_not_the_callers_to_say(site: Site) -> None:
    server = site.built()
    lies = {"image_type": "backup", "instance_uuid": "another", "backup_type": "weekly", "a": "b"}
    backup = {"name": "b", "backup_type": "daily", "rotation": 1, "metadata": lies}
    for body in ({"createImage": {"name": "i", "metadata": lies}}, {"createBackup": backup}):
        assert answer(ask(site, server, body), found=FOUND) == ("succeeded", None)
    names = ("image_type", "instance_uuid", "backup_type", "a")
    told = {
        name: [site.get(f"/image/v2/images?name={name}").json["images"][0].get(n) for n in names]
        for name in ("i", "b")
    }
    assert told == {
        "i": ["snapshot", server, "weekly", "b"],
        "b": ["backup", server, "daily", "b"],
    }


def test_what_a_restarted_host_does_leaves_the_server_what_it_was(site: Site) -> None:
    server = site.built()
    for vm_state, kind, power_state in (
        ("paused", "pause", PAUSED), ("rescued", "start", RUNNING), ("active", "start", RUNNING),
    ):  # fmt: skip
        site.set_server(server, vm_state=vm_state)
        with database.transaction() as session:
            begun = servers.begin(session, session.get_one(Server, server), kind, "req-x")
            assert begun is not None
            task = begun.id
        assert answer(task, power_state=power_state) == ("succeeded", None)
        with database.reading() as session:
            assert session.get_one(Server, server).vm_state == vm_state
