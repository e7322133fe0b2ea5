"""Lists of servers: filters, orders and pages, version by version; and lists of their actions."""

from __future__ import annotations

import re
import uuid
from typing import Any

import pytest

from tests.integration.test_web_compute import SERVERS, add_host
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]


def listed(site: Site, query: str, user: str = "novella", version: str = "2.1") -> list[str]:
    """The names that a query finds."""
    answer = site.get(f"{SERVERS}?{query}", user, version=version)
    assert answer.status_code == 200, answer.text
    return [one["name"] for one in answer.json["servers"]]


def status(site: Site, query: str, user: str = "novella", version: str = "2.1") -> int:
    """What a query's answer says."""
    return site.get(f"{SERVERS}?{query}", user, version=version).status_code


@pytest.fixture
def three(site: Site) -> dict[str, str]:
    """Three built servers, a, b and c in the order of their making; their ids."""
    image = site.add_image()
    return {name: site.built(imageRef=image, name=name) for name in "abc"}


def test_tags_narrow_a_list_from_2_26(site: Site, three: dict[str, str]) -> None:
    for name, tags in (("a", ["x", "y"]), ("b", ["x"])):
        path = f"{SERVERS}/{three[name]}/tags"
        assert site.call("PUT", path, json={"tags": tags}, version="2.26").status_code == 200
    for query, found in (
        ("tags=x,y", "a"),
        ("tags=x", "ba"),
        ("tags-any=y,z", "a"),
        ("not-tags=x,y", "cb"),
        ("not-tags-any=x", "c"),
        ("tags=x&not-tags=y", "b"),
    ):
        assert listed(site, query, version="2.26") == list(found), query
        assert listed(site, query, version="2.25") == list("cba")
    (first,) = site.get(f"{SERVERS}/detail?name=a", version="2.26").json["servers"]
    assert first["tags"] == ["x", "y"]


def test_locked_servers_are_found_from_2_73(site: Site, three: dict[str, str]) -> None:
    path = f"{SERVERS}/{three['b']}/action"
    assert site.post(path, json={"lock": None}).status_code == 202
    assert listed(site, "locked=true", version="2.73") == ["b"]
    assert listed(site, "locked=0", version="2.73") == ["c", "a"]
    assert listed(site, "locked=true", version="2.72") == list("cba")
    assert status(site, "locked=maybe", version="2.73") == 400
    assert listed(site, "sort_key=locked", version="2.73")[0] == "b"
    assert status(site, "sort_key=locked", version="2.72") == 400


def test_a_list_is_sorted_by_several_keys_and_paged_in_that_order(
    site: Site, three: dict[str, str]
) -> None:
    site.set_server(three["b"], vm_state="stopped", launched_at=None)
    site.set_server(three["c"], key_name="k")
    query = "sort_key=vm_state&sort_dir=desc&sort_key=display_name&sort_dir=asc"
    assert listed(site, query) == ["b", "a", "c"]
    for order in (
        query,
        "sort_key=key_name&sort_key=display_name&sort_dir=asc",
        "sort_key=launched_at",
    ):
        whole, seen = listed(site, order), []
        path: str | None = f"{SERVERS}?{order}&limit=1"
        while path:
            page = site.get(path).json
            seen += [one["name"] for one in page["servers"]]
            path = next((one["href"] for one in page.get("servers_links", [])), None)
        assert seen == whole, order
    for bad in ("sort_dir=up", "sort_key=uuid&sort_dir=asc&sort_dir=asc", "sort_key=x"):
        assert status(site, bad) == 400
    assert status(site, "sort_key=host") == 403
    assert status(site, "sort_key=host", "admin") == 200


def test_filters_that_are_administrators_until_2_83(site: Site, three: dict[str, str]) -> None:
    add_host(zone="east")
    site.set_server(three["b"], key_name="k", power_state=4, config_drive=True, vm_state="stopped")
    site.set_server(three["c"], host=None, availability_zone="west", launched_at=99.5)
    for query, found in (
        ("key_name=k", "b"),
        ("power_state=4", "b"),
        ("power_state=shutdown", "b"),
        ("config_drive=true", "b"),
        ("vm_state=stopped", "b"),
        ("availability_zone=east", "ba"),
        ("availability_zone=west", "c"),
        ("launched_at=1970-01-01T00:01:39Z", "c"),
        ("user_id=nobody", ""),
    ):
        assert listed(site, query, version="2.82") == list("cba"), query
        assert listed(site, query, version="2.83") == list(found), query
        assert listed(site, f"{query}&all_tenants=1", "admin") == list(found), query
    for query, found in (
        ("host=n1", "ba"),
        ("node=n1.example", "ba"),
        ("hostname=^a$", "a"),
        ("launch_index=0", "cba"),
        ("locked_by=admin", ""),
        ("auto_disk_config=false", "cba"),
    ):
        assert listed(site, query, version="2.83") == list("cba"), query
        assert listed(site, f"{query}&all_tenants=1", "admin") == list(found), query


def test_unknown_filters_are_ignored_and_from_2_75_refused(
    site: Site, three: dict[str, str]
) -> None:
    assert listed(site, "colour=red", version="2.74") == list("cba")
    assert status(site, "colour=red", version="2.75") == 400
    assert status(site, "tags=x&changes-before=2999-01-01T00:00:00Z", version="2.75") == 200
    assert status(site, "deleted=False&host=n1", version="2.75") == 200


def test_an_unknown_status_is_refused_from_2_38(site: Site, three: dict[str, str]) -> None:
    assert listed(site, "status=NONSENSE", version="2.37") == []
    assert status(site, "status=NONSENSE", version="2.38") == 400
    assert listed(site, "status=active&status=NONSENSE", version="2.38") == list("cba")


def test_deleted_servers_by_status_are_administrators(site: Site, three: dict[str, str]) -> None:
    site.set_server(three["a"], vm_state="deleted", deleted_at=2.0)
    assert status(site, "status=deleted") == 403
    assert listed(site, "status=deleted&all_tenants=1", "admin") == ["a"]


def test_changes_lie_between_two_times(site: Site, three: dict[str, str]) -> None:
    site.set_server(three["a"], updated_at=1000.5)
    site.set_server(three["b"], updated_at=2000.5)
    before = "changes-before=1970-01-01T00:16:40Z"  # 1000 s
    assert listed(site, before, version="2.66") == ["a"]
    assert listed(site, before, version="2.65") == list("cba")
    both = "changes-since=1970-01-01T00:16:41Z&changes-before=1970-01-01T01:00:00Z"
    assert listed(site, both, version="2.66") == ["b"]
    swapped = "changes-since=1971-01-01T00:00:00Z&changes-before=1970-01-01T00:00:00Z"
    assert status(site, swapped, version="2.66") == 400
    assert status(site, "changes-before=then", version="2.66") == 400


def test_all_projects_are_asked_for_by_word_or_by_value(site: Site, three: dict[str, str]) -> None:
    assert listed(site, "all_tenants", "admin") == list("cba")
    assert listed(site, "all_tenants=0", "admin") == []
    project = site.get(f"{SERVERS}/{three['a']}").json["server"]["tenant_id"]
    assert listed(site, f"all_tenants=1&project_id={project}", "admin") == list("cba")
    assert listed(site, f"all_tenants=1&tenant_id={uuid.uuid4().hex}", "admin") == []
    assert listed(site, f"tenant_id={project}", "admin") == []
    for path in (SERVERS, f"{SERVERS}/detail"):
        answer = site.get(f"{path}?all_tenants=1")
        assert answer.status_code == 403
        rule = "detail" if path.endswith("detail") else "index"
        assert f"servers:{rule}:get_all_tenants" in answer.json["forbidden"]["message"]


# Instance actions


def actions(site: Site, server: str, query: str, version: str = "2.58", **more: Any) -> Any:
    """A list of a server's actions."""
    return site.get(f"{SERVERS}/{server}/os-instance-actions?{query}", version=version, **more)


def test_actions_are_paged_from_2_58(site: Site) -> None:
    server = site.built()
    for _ in range(2):
        for body in ({"lock": None}, {"unlock": None}):
            site.post(f"{SERVERS}/{server}/action", json=body)
    everything = actions(site, server, "").json["instanceActions"]
    assert [one["action"] for one in everything] == ["unlock", "lock", "unlock", "lock", "create"]
    assert all("updated_at" in one for one in everything)
    old = actions(site, server, "limit=1&colour=red", "2.57").json
    assert len(old["instanceActions"]) == 5
    assert "updated_at" not in old["instanceActions"][0]
    seen, path = [], f"{SERVERS}/{server}/os-instance-actions?limit=2"
    while path:
        page = site.get(path, version="2.58").json
        seen += page["instanceActions"]
        path = next((one["href"] for one in page.get("links", [])), "")
    assert seen == everything


def test_a_bad_query_for_actions_is_400(site: Site) -> None:
    server = site.built()
    swapped = "changes-before=2020-01-01T00:00:00Z&changes-since=2021-01-01T00:00:00Z"
    for query, version in (
        ("colour=red", "2.58"),
        ("limit=x", "2.58"),
        ("limit=-1", "2.58"),
        ("marker=req-none", "2.58"),
        ("changes-since=then", "2.58"),
        ("changes-before=2020-01-01T00:00:00Z", "2.65"),
        (swapped, "2.66"),
    ):
        assert actions(site, server, query, version).status_code == 400, query


def test_actions_lie_between_two_times(site: Site) -> None:
    server = site.built()
    for query, version, found in (
        ("changes-since=2001-01-01T00:00:00Z", "2.58", 1),
        ("changes-since=2999-01-01T00:00:00Z", "2.58", 0),
        ("changes-before=2999-01-01T00:00:00Z", "2.66", 1),
        ("changes-before=2001-01-01T00:00:00Z", "2.66", 0),
    ):
        answer = actions(site, server, query, version)
        assert len(answer.json["instanceActions"]) == found, query


def test_each_version_shows_its_own_keys_of_events(site: Site) -> None:
    answer = site.add_server()
    server, request = answer.json["server"]["id"], answer.headers["x-openstack-request-id"]
    path = f"{SERVERS}/{server}/os-instance-actions/{request}"
    assert "events" not in site.get(path, version="2.50").json["instanceAction"]
    for version, user, keys in (
        ("2.50", "admin", {"traceback"}),
        ("2.51", "novella", set()),
        ("2.62", "novella", {"hostId"}),
        ("2.62", "admin", {"traceback", "hostId", "host"}),
        ("2.84", "novella", {"hostId"}),
        ("2.84", "admin", {"traceback", "hostId", "host", "details"}),
    ):
        (event,) = site.get(path, user, version=version).json["instanceAction"]["events"]
        assert set(event) == {"event", "start_time", "finish_time", "result"} | keys, version
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}", event["start_time"])
