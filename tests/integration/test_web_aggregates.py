"""Host aggregates over HTTP: as their versions have them, and what they make of their hosts."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from werkzeug.test import TestResponse

from app.models import Host
from app.store import aggregates
from app.store.database import reading, transaction
from tests.integration.host_rows import SERVICES, V, add_host, admin
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
AGGREGATES = f"{V}/os-aggregates"
SHORT = {
    "id",
    "name",
    "availability_zone",
    "created_at",
    "updated_at",
    "deleted",
    "deleted_at",
}
WHOLE = SHORT | {"hosts", "metadata"}


def make(site: Site, name: str = "fast", version: str = "2.1", **more: Any) -> Any:
    """A new aggregate."""
    about = {"aggregate": {"name": name} | more}
    answer = site.post(AGGREGATES, "admin", json=about, version=version)
    assert answer.status_code == 200, answer.text
    return answer.json["aggregate"]


def act(site: Site, aggregate: int, version: str = "2.1", **action: Any) -> TestResponse:
    """The answer to an action on an aggregate."""
    path = f"{AGGREGATES}/{aggregate}/action"
    return site.post(path, "admin", json=action, version=version)


def put(site: Site, aggregate: int, **changes: Any) -> TestResponse:
    """The answer to a change of an aggregate."""
    path = f"{AGGREGATES}/{aggregate}"
    return site.call("PUT", path, "admin", json={"aggregate": changes})


def host(name: str) -> Host:
    """A host's row."""
    with reading() as session:
        return session.get_one(Host, name)


def revision() -> int:
    """The mark that every change moves."""
    with reading() as session:
        return aggregates.revision(session)


@pytest.mark.parametrize(("version", "more"), [("2.40", set()), ("2.41", {"uuid"})])
def test_an_aggregate_is_as_its_version_has_it(site: Site, version: str, more: set[str]) -> None:
    add_host("n1", 1)
    made = make(site, version=version)
    assert set(made) == SHORT | more
    assert (made["name"], made["availability_zone"], made["deleted"]) == ("fast", None, False)
    assert made["updated_at"] is None
    for shown in (
        admin(site, f"{AGGREGATES}/{made['id']}", version)["aggregate"],
        admin(site, AGGREGATES, version)["aggregates"][0],
        act(site, made["id"], version, add_host={"host": "n1"}).json["aggregate"],
        act(site, made["id"], version, set_metadata={"metadata": {"a": "b"}}).json["aggregate"],
    ):
        assert set(shown) == WHOLE | more
    assert (shown["hosts"], shown["metadata"]) == (["n1"], {"a": "b"})
    assert shown["updated_at"] is not None


def test_an_aggregate_lives_from_its_creation_to_its_deletion(site: Site) -> None:
    add_host("n1", 1)
    marks = [revision()]
    first = make(site, availability_zone="east")["id"]
    changed = put(site, first, name="faster").json["aggregate"]
    assert (changed["name"], changed["metadata"]) == ("faster", {"availability_zone": "east"})
    act(site, first, set_metadata={"metadata": {"ssd": "true", "gone": "x"}})
    kept = act(site, first, set_metadata={"metadata": {"gone": None}}).json["aggregate"]
    assert kept["metadata"] == {"availability_zone": "east", "ssd": "true"}
    marks.append(revision())
    assert act(site, first, add_host={"host": "n1"}).status_code == 200
    marks.append(revision())
    assert site.delete(f"{AGGREGATES}/{first}", "admin").status_code == 400, "it has a host"
    assert act(site, first, remove_host={"host": "n1"}).json["aggregate"]["hosts"] == []
    marks.append(revision())
    gone = site.delete(f"{AGGREGATES}/{first}", "admin")
    assert (gone.status_code, gone.data) == (200, b"")
    marks.append(revision())
    assert marks == sorted(set(marks)), "each change can be seen"
    assert site.get(f"{AGGREGATES}/{first}", "admin").status_code == 404
    second = make(site, "faster")["id"]
    assert second > first, "a name may come again, an id never"


REFUSALS: list[tuple[str, object, int, str]] = [
    ("", {"aggregate": {"name": ""}}, 400, "name"),
    ("", {"aggregate": {"name": "a" * 256}}, 400, "255"),
    ("", {"aggregate": {"name": "taken"}}, 409, "taken"),
    ("", {"aggregate": {"name": "b", "availability_zone": "a:b"}}, 400, "colon"),
    ("", {"aggregate": {"name": "b", "availability_zone": ""}}, 400, "availability_zone"),
    ("", {"aggregate": {"name": "b", "hosts": []}}, 400, "hosts"),
    ("/1/action", {"add_host": {"host": "n9"}}, 404, "n9"),
    ("/1/action", {"add_host": {"host": "n1"}}, 409, "n1"),
    ("/1/action", {"remove_host": {"host": "n2"}}, 404, "n2"),
    ("/9/action", {"add_host": {"host": "n1"}}, 404, "9"),
    ("/1/action", {"dance": {}}, 400, "dance"),
    ("/1/action", {}, 400, "the body"),
    ("/1/action", [], 400, "the body"),
    ("/1/action", {"set_metadata": {"metadata": {"a": 1}}}, 400, "metadata"),
    ("/1/action", {"set_metadata": {"metadata": {"availability_zone": None}}}, 400, "zone"),
    ("/1/action", {"set_metadata": {"metadata": {"availability_zone": ""}}}, 400, "zone"),
    ("/1/action", {"set_metadata": {"metadata": {"cpu_allocation_ratio": "x"}}}, 400, "cpu_"),
    ("/1/action", {"set_metadata": {"metadata": {"ram_allocation_ratio": "nan"}}}, 400, "ram_"),
    ("/1/action", {"set_metadata": {"metadata": {"ram_allocation_ratio": "-1"}}}, 400, "10000"),
]


def test_what_is_refused_says_why(site: Site) -> None:
    add_host("n1", 1)
    add_host("n2", 2)
    act(site, make(site, "taken")["id"], add_host={"host": "n1"})
    for path, body, status, word in REFUSALS:
        answer = site.post(AGGREGATES + path, "admin", json=body)
        assert (answer.status_code, word in answer.text) == (status, True), (body, answer.text)


def test_an_id_that_is_none_is_refused_and_one_of_nobody_is_missing(site: Site) -> None:
    for id_, status in (("fast", 400), ("-1", 404), ("0", 404), ("99999999999", 404)):
        for method in ("GET", "DELETE"):
            answer = site.call(method, f"{AGGREGATES}/{id_}", "admin")
            assert answer.status_code == status, (method, id_)


def test_only_administrators_have_to_do_with_aggregates(site: Site) -> None:
    id_ = make(site)["id"]
    about = {"aggregate": {"name": "mine"}}
    for method, path, body in (
        ("GET", "", None),
        ("POST", "", about),
        ("GET", f"/{id_}", None),
        ("PUT", f"/{id_}", about),
        ("DELETE", f"/{id_}", None),
        ("POST", f"/{id_}/action", {"add_host": {"host": "n1"}}),
        ("POST", f"/{id_}/action", {"remove_host": {"host": "n1"}}),
        ("POST", f"/{id_}/action", {"set_metadata": {"metadata": {}}}),
        ("POST", f"/{id_}/action", {"dance": {}}),
    ):
        assert site.call(method, AGGREGATES + path, json=body).status_code == 403, (method, path)


def zones(site: Site) -> dict[str, list[str]]:
    """The hosts of each availability zone, as administrators see them."""
    found = admin(site, f"{V}/os-availability-zone/detail")["availabilityZoneInfo"]
    return {one["zoneName"]: sorted(one["hosts"]) for one in found if one["hosts"]}


def test_a_zone_has_the_hosts_of_its_aggregates_and_no_host_has_two(site: Site) -> None:
    for number, name in enumerate(("n1", "n2", "n3"), 1):
        add_host(name, number)
    east, more = make(site, "east", availability_zone="east"), make(site, "more")
    act(site, east["id"], add_host={"host": "n1"})
    act(site, more["id"], add_host={"host": "n2"})
    assert zones(site) == {"east": ["n1"], "nova": ["n2", "n3"]}
    act(site, more["id"], set_metadata={"metadata": {"availability_zone": "east"}})
    assert zones(site) == {"east": ["n1", "n2"], "nova": ["n3"]}
    assert {one["host"]: one["zone"] for one in admin(site, SERVICES)["services"]} == {
        "n1": "east",
        "n2": "east",
        "n3": "nova",
    }
    west = make(site, "west", availability_zone="west")["id"]
    clash = act(site, west, add_host={"host": "n1"})
    assert (clash.status_code, "east" in clash.text) == (409, True)
    assert act(site, more["id"], add_host={"host": "n1"}).status_code == 200, "the same zone"
    assert put(site, more["id"], availability_zone="north").status_code == 400, "n1 is in east"
    assert put(site, west, availability_zone="far").status_code == 200, "it has no hosts"
    act(site, more["id"], remove_host={"host": "n2"})
    assert zones(site)["nova"] == ["n2", "n3"]


def test_a_zone_with_servers_is_not_renamed_and_its_hosts_do_not_leave(site: Site) -> None:
    add_host("n1", 1)
    add_host("n2", 2)
    east = make(site, "east", availability_zone="east")["id"]
    act(site, east, add_host={"host": "n1"})
    server = site.built()
    renamed = put(site, east, availability_zone="west")
    assert (renamed.status_code, "servers" in renamed.text) == (400, True)
    metadata = {"metadata": {"availability_zone": "west"}}
    assert act(site, east, set_metadata=metadata).status_code == 400
    assert act(site, east, remove_host={"host": "n1"}).status_code == 409
    plain = make(site, "plain")["id"]
    assert act(site, plain, add_host={"host": "n1"}).status_code == 200, "no zone, no matter"
    same = put(site, east, name="east-1", availability_zone="east")
    assert (same.status_code, host("n1").zone) == (200, "east")
    shown = site.get(f"{V}/servers/{server}").json["server"]
    assert shown["OS-EXT-AZ:availability_zone"] == "east"
    site.set_server(server, deleted_at=2.0, host=None)
    assert put(site, east, availability_zone="west").status_code == 200
    assert host("n1").zone == "west"


def test_the_least_ratio_of_a_host_s_aggregates_is_its_ratio(site: Site) -> None:
    add_host("n1", 1, cpu_ratio=4.0, ram_ratio=1.5)
    add_host("n2", 2, cpu_ratio=4.0)
    wide, narrow = make(site, "wide")["id"], make(site, "narrow")["id"]
    act(site, wide, set_metadata={"metadata": {"cpu_allocation_ratio": "16.0"}})
    act(site, narrow, set_metadata={"metadata": {"cpu_allocation_ratio": "2"}})
    act(site, wide, add_host={"host": "n1"})
    assert (host("n1").cpu_ratio, host("n1").ram_ratio) == (16.0, 1.5)
    act(site, narrow, add_host={"host": "n1"})
    assert host("n1").cpu_ratio == 2.0
    both = {"cpu_allocation_ratio": "32", "ram_allocation_ratio": "3"}
    act(site, narrow, set_metadata={"metadata": both})
    assert (host("n1").cpu_ratio, host("n1").ram_ratio) == (16.0, 3.0)
    act(site, narrow, remove_host={"host": "n1"})
    assert (host("n1").cpu_ratio, host("n1").ram_ratio) == (16.0, 1.5)
    act(site, wide, set_metadata={"metadata": {"cpu_allocation_ratio": None}})
    own = host("n1")
    assert (own.cpu_ratio, own.own_cpu_ratio, host("n2").cpu_ratio) == (4.0, None, 4.0)


def test_a_host_that_is_forgotten_is_in_no_aggregate(site: Site) -> None:
    id_ = add_host("n1", 1, state="down")
    aggregate = make(site, availability_zone="east")["id"]
    act(site, aggregate, add_host={"host": "n1"})
    before = revision()
    assert site.delete(f"{SERVICES}/{id_}", "admin", version="2.53").status_code == 204
    assert admin(site, f"{AGGREGATES}/{aggregate}")["aggregate"]["hosts"] == []
    assert revision() > before


def test_a_repeated_request_makes_one_aggregate(site: Site) -> None:
    about, key = {"aggregate": {"name": "once"}}, {"Idempotency-Key": "k"}
    first, again = (site.post(AGGREGATES, "admin", json=about, headers=key) for _ in range(2))
    assert (again.status_code, again.headers["Idempotent-Replayed"]) == (200, "true")
    assert json.loads(again.data) == json.loads(first.data)


def test_a_host_that_two_zones_want_at_once_is_in_one(site: Site) -> None:
    add_host("n1", 1)
    ids = [make(site, name, availability_zone=name)["id"] for name in ("east", "west")]
    gate, ended = threading.Barrier(2), []

    def add(id_: int) -> None:
        gate.wait(10)
        try:
            with transaction() as session:
                aggregates.add_host(session, id_, "n1")
            ended.append("added")
        except aggregates.Conflict:
            ended.append("refused")

    threads = [threading.Thread(target=add, args=(id_,)) for id_ in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(ended) == ["added", "refused"]
