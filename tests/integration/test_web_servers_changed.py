"""Changing servers in place: their description, metadata, tags and locks."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sqlalchemy import select

from app.models import Action, Quota, Server
from app.store.database import reading, transaction
from tests.integration.host_rows import add_host
from tests.integration.test_web_compute import SERVERS
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]


def put(site: Site, path: str, body: Any = None, user: str = "novella", **more: Any) -> Any:
    """A PUT below the servers."""
    given = {} if body is None else {"json": body}
    return site.call("PUT", f"{SERVERS}/{path}", user, **given, **more)


def act(
    site: Site, server: str, user: str = "novella", version: str = "2.90", **action: Any
) -> Any:
    """A server action."""
    return site.post(f"{SERVERS}/{server}/action", user, json=action, version=version)


# PUT /servers/{id}


def test_a_server_is_renamed_and_described(site: Site) -> None:
    server = site.built()
    body = {
        "name": " new name ", "accessIPv4": "1.2.3.4", "accessIPv6": "::babe:220.12.22.2",
        "OS-DCF:diskConfig": "AUTO", "description": "words", "hostname": "other-host",
    }  # fmt: skip
    shown = put(site, server, {"server": body}, version="2.90").json["server"]
    assert (shown["name"], shown["accessIPv4"], shown["accessIPv6"]) == (
        "new name",
        "1.2.3.4",
        "::babe:dc0c:1602",
    )
    assert (shown["OS-DCF:diskConfig"], shown["description"]) == ("AUTO", "words")
    assert shown["OS-EXT-SRV-ATTR:hostname"] == "other-host"
    assert site.get(f"{SERVERS}/{server}", version="2.90").json["server"] == shown
    cleared = {"server": {"accessIPv4": "", "description": None}}
    shown = put(site, server, cleared, version="2.19").json["server"]
    assert (shown["accessIPv4"], shown["description"], shown["name"]) == ("", None, "new name")
    assert put(site, server, {"server": {}}).status_code == 200


def test_a_zone_is_unpinned_and_pinned_again_where_the_server_is(site: Site) -> None:
    add_host("n1", 1, zone="here")
    server = site.built()

    def pin(zone: str | None, version: str = "2.104") -> Any:
        body = {"server": {"pinned_availability_zone": zone}}
        return put(site, server, body, version=version)

    for zone in ("here", "here", None, None, "here"):
        assert pin(zone).json["server"]["pinned_availability_zone"] == zone
    assert "unpin it first" in pin("there").json["conflictingRequest"]["message"]
    pin(None)
    assert "not in that" in pin("there").json["conflictingRequest"]["message"]
    assert pin("here", "2.103").status_code == 400


def test_a_bad_change_is_400_and_changes_nothing(site: Site) -> None:
    server = site.built()
    before = site.get(f"{SERVERS}/{server}", "admin", version="2.90").json
    for version, field, value in (
        ("2.1", "name", ""),
        ("2.1", "name", "   "),
        ("2.1", "name", "x" * 256),
        ("2.1", "name", None),
        ("2.1", "accessIPv4", "::1"),
        ("2.1", "accessIPv6", "bad"),
        ("2.1", "OS-DCF:diskConfig", "manual"),
        ("2.18", "description", "too early"),
        ("2.19", "description", 1),
        ("2.89", "hostname", "early"),
        ("2.90", "hostname", "x"),
        ("2.90", "tenant_id", "mine"),
    ):
        answer = put(site, server, {"server": {field: value}}, version=version)
        assert answer.status_code == 400, (field, value)
        assert field in answer.json["badRequest"]["message"]
    assert site.get(f"{SERVERS}/{server}", "admin", version="2.90").json == before


# Metadata


def test_metadata_is_merged_replaced_and_removed(site: Site) -> None:
    server = site.built(metadata={"a": "1"})
    path = f"{SERVERS}/{server}/metadata"
    assert site.get(path).json == {"metadata": {"a": "1"}}
    merged = site.post(path, json={"metadata": {"b": "2", "a": "3"}})
    assert (merged.status_code, merged.json) == (200, {"metadata": {"a": "3", "b": "2"}})
    assert put(site, f"{server}/metadata", {"metadata": {"c": "4"}}).json == {
        "metadata": {"c": "4"}
    }
    assert put(site, f"{server}/metadata/d", {"meta": {"d": "5"}}).json == {"meta": {"d": "5"}}
    assert site.get(f"{path}/d").json == {"meta": {"d": "5"}}
    assert site.delete(f"{path}/c").status_code == 204
    assert site.get(path).json == {"metadata": {"d": "5"}}
    assert site.get(f"{path}/c").status_code == 404
    assert site.delete(f"{path}/c").status_code == 404
    assert site.get(f"{SERVERS}/{server}").json["server"]["metadata"] == {"d": "5"}


def test_bad_metadata_is_400(site: Site) -> None:
    server = site.built()
    for method, path, body in (
        ("POST", "metadata", {}),
        ("POST", "metadata", {"metadata": None}),
        ("POST", "metadata", {"metadata": {"": "v"}}),
        ("PUT", "metadata", {"metadata": {"k" * 256: "v"}}),
        ("PUT", "metadata", {"metadata": {"k": "v" * 256}}),
        ("PUT", "metadata", {"meta": {"k": "v"}}),
        ("PUT", "metadata/k", {"meta": {"other": "v"}}),
        ("PUT", "metadata/k", {"meta": {"k": "v", "l": "w"}}),
        ("PUT", "metadata/k", {"meta": {}}),
        ("PUT", "metadata/k", {"metadata": {"k": "v"}}),
    ):
        answer = site.call(method, f"{SERVERS}/{server}/{path}", json=body)
        assert answer.status_code == 400, (method, path, body)
    assert site.get(f"{SERVERS}/{server}/metadata").json == {"metadata": {}}


def test_the_quota_of_metadata_holds_for_creates_and_changes(site: Site) -> None:
    server = site.built(metadata={"a": "1"})
    with transaction() as session:
        project = session.get_one(Server, server).project_id
        session.add(Quota(project_id=project, resource="metadata_items", hard_limit=2))
    path = f"{SERVERS}/{server}/metadata"
    assert site.post(path, json={"metadata": {"b": "2"}}).status_code == 200
    for answer in (
        site.post(path, json={"metadata": {"c": "3"}}),
        put(site, f"{server}/metadata/c", {"meta": {"c": "3"}}),
        put(site, f"{server}/metadata", {"metadata": {"a": "", "b": "", "c": ""}}),
        site.add_server(metadata={"a": "", "b": "", "c": ""}),
    ):
        assert answer.status_code == 403
        assert "metadata items" in answer.json["forbidden"]["message"]
    assert site.get(path).json == {"metadata": {"a": "1", "b": "2"}}


def test_metadata_set_at_the_same_time_is_all_kept(site: Site) -> None:
    server = site.built()
    site.token()
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(
            lambda n: site.post(f"{SERVERS}/{server}/metadata", json={"metadata": {f"k{n}": "v"}}),
            range(16),
        )
    assert {answer.status_code for answer in answers} == {200}
    assert len(site.get(f"{SERVERS}/{server}/metadata").json["metadata"]) == 16


# Tags


def test_tags_are_set_added_and_removed_from_2_26(site: Site) -> None:
    server = site.built()
    path = f"{SERVERS}/{server}/tags"

    def tags() -> list[str]:
        return list(site.get(path, version="2.26").json["tags"])

    added = put(site, f"{server}/tags/one", version="2.26")
    assert added.status_code == 201
    assert added.headers["Location"].endswith(f"/servers/{server}/tags/one")
    assert added.data == b""
    assert put(site, f"{server}/tags/one", version="2.26").status_code == 204
    assert site.get(f"{path}/one", version="2.26").status_code == 204
    assert site.get(f"{path}/two", version="2.26").status_code == 404
    replaced = put(site, f"{server}/tags", {"tags": ["b", "a", "b"]}, version="2.26")
    assert (replaced.status_code, replaced.json) == (200, {"tags": ["a", "b"]})
    assert tags() == ["a", "b"]
    assert site.delete(f"{path}/a", version="2.26").status_code == 204
    assert site.delete(f"{path}/a", version="2.26").status_code == 404
    assert site.delete(path, version="2.26").status_code == 204
    assert tags() == []
    assert site.get(path, version="2.25").status_code == 404


def test_tags_have_limits(site: Site) -> None:
    server = site.built()
    for bad in ([""], ["a,b"], ["a/b"], ["x" * 61], [1], "a", [str(n) for n in range(51)]):
        assert put(site, f"{server}/tags", {"tags": bad}, version="2.26").status_code == 400, bad
    assert put(site, f"{server}/tags/{'x' * 61}", version="2.26").status_code == 400
    most = {"tags": [str(n) for n in range(50)]}
    assert put(site, f"{server}/tags", most, version="2.26").status_code == 200
    assert put(site, f"{server}/tags/7", version="2.26").status_code == 204
    over = put(site, f"{server}/tags/50", version="2.26")
    assert "limit 50" in over.json["badRequest"]["message"]


# States, locks, strangers


def changes(site: Site, server: str, user: str = "novella") -> dict[str, Any]:
    """The answer to each way to change a server in place."""
    meta, tags = f"{server}/metadata", f"{server}/tags"
    return {
        "metadata+": site.post(f"{SERVERS}/{meta}", user, json={"metadata": {"a": "b"}}),
        "metadata=": put(site, meta, {"metadata": {"a": "b"}}, user),
        "item": put(site, f"{meta}/a", {"meta": {"a": "b"}}, user),
        "item-": site.delete(f"{SERVERS}/{meta}/a", user),
        "tags": put(site, tags, {"tags": ["t"]}, user, version="2.26"),
        "tag": put(site, f"{tags}/t", None, user, version="2.26"),
        "tag-": site.delete(f"{SERVERS}/{tags}/t", user, version="2.26"),
        "tags-": site.delete(f"{SERVERS}/{tags}", user, version="2.26"),
    }


def statuses(answers: dict[str, Any]) -> set[int]:
    """The different statuses."""
    return {answer.status_code for answer in answers.values()}


def test_metadata_and_tags_wait_for_a_built_server_and_end_with_its_deletion(site: Site) -> None:
    building = site.add_server(metadata={"a": "b"}).json["server"]["id"]
    assert statuses(changes(site, building)) == {409}
    server = site.built(metadata={"a": "b"})
    site.set_server(server, task_state="rebooting")
    assert statuses(changes(site, server)) == {200, 201, 204} - {201}
    site.set_server(server, task_state="deleting", meta={"a": "b"})
    refused = changes(site, server)
    assert statuses(refused) == {409}
    assert "task_state deleting" in refused["tag"].json["conflictingRequest"]["message"]


def test_another_projects_server_can_be_neither_seen_nor_changed(site: Site) -> None:
    server = site.built(metadata={"a": "b"})
    answers = changes(site, server, "other") | {
        "put": put(site, server, {"server": {"name": "mine"}}, "other"),
        "lock": act(site, server, "other", lock=None),
        "unlock": act(site, server, "other", unlock=None),
        "metadata": site.get(f"{SERVERS}/{server}/metadata", "other"),
        "one": site.get(f"{SERVERS}/{server}/metadata/a", "other"),
        "tags?": site.get(f"{SERVERS}/{server}/tags", "other", version="2.26"),
        "tag?": site.get(f"{SERVERS}/{server}/tags/t", "other", version="2.26"),
    }
    assert statuses(answers) == {404}
    nowhere = str(uuid.uuid4())
    for name, answer in changes(site, nowhere).items():
        assert answer.text.replace(nowhere, server) == answers[name].text


def test_a_locked_server_refuses_its_owner_all_that_nova_guards(site: Site) -> None:
    server = site.built(metadata={"a": "b"})
    locked = act(site, server, lock={"locked_reason": "do not touch"})
    assert (locked.status_code, locked.data) == (202, b"")
    task = site.get(f"/v1/tasks/{locked.headers['X-Task-Id']}").json
    assert (task["kind"], task["state"], task["progress"]) == ("lock", "succeeded", 100)
    shown = site.get(f"{SERVERS}/{server}", version="2.73").json["server"]
    assert (shown["locked"], shown["locked_reason"]) == (True, "do not touch")
    answers = changes(site, server)
    refused = {name: one for name, one in answers.items() if not name.startswith("tag")} | {
        "delete": site.delete(f"{SERVERS}/{server}"),
        "stop": act(site, server, **{"os-stop": None}),
        "reboot": act(site, server, reboot={"type": "HARD"}),
    }
    assert statuses(refused) == {409}
    assert "is locked" in refused["stop"].json["conflictingRequest"]["message"]
    assert {one.status_code // 100 for name, one in answers.items() if name.startswith("tag")} == {
        2
    }
    assert put(site, server, {"server": {"name": "new"}}).status_code == 200
    assert act(site, server, unlock=None).status_code == 202
    shown = site.get(f"{SERVERS}/{server}", version="2.73").json["server"]
    assert (shown["locked"], shown["locked_reason"]) == (False, None)
    assert put(site, server, {"server": {"name": "newer"}}).status_code == 200


def test_an_administrators_lock_is_not_the_owners_to_open(site: Site) -> None:
    server = site.built()
    assert act(site, server, "admin", lock={"locked_reason": "audit"}).status_code == 202
    assert act(site, server, lock=None).status_code == 202
    assert act(site, server, unlock=None).status_code == 403
    shown = site.get(f"{SERVERS}/{server}", version="2.73").json["server"]
    assert (shown["locked"], shown["locked_reason"]) == (True, "audit")
    assert act(site, server, "admin", unlock=None).status_code == 202
    assert act(site, server, lock=None).status_code == 202
    assert act(site, server, "admin", unlock=None).status_code == 202


def test_a_lock_disturbs_nothing_that_runs(site: Site) -> None:
    answer = site.add_server()
    server, task = answer.json["server"]["id"], answer.headers["X-Task-Id"]
    with reading() as session:
        before = session.get_one(Server, server)
    assert act(site, server, lock=None).status_code == 202
    with reading() as session:
        after = session.get_one(Server, server)
        open_ = select(Action.id).where(Action.server_id == server, Action.finished_at.is_(None))
        assert list(session.scalars(open_)) == [task]
    assert (after.fence, after.vm_state, after.task_state) == (
        before.fence,
        before.vm_state,
        before.task_state,
    )
    listed = site.get(f"{SERVERS}/{server}/os-instance-actions").json["instanceActions"]
    assert [one["action"] for one in listed] == ["lock", "create"]


def test_a_bad_lock_is_400(site: Site) -> None:
    server = site.built()
    for value in ({"locked_reason": ""}, {"locked_reason": "x" * 256}, {"reason": "x"}, "x"):
        assert act(site, server, version="2.73", lock=value).status_code == 400, value
    assert act(site, server, version="2.72", lock={"locked_reason": "early"}).status_code == 202
    shown = site.get(f"{SERVERS}/{server}", version="2.73").json["server"]
    assert (shown["locked"], shown["locked_reason"]) == (True, None)
