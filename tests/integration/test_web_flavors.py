"""Flavors over HTTP: made, described, given to projects, and each as its microversion has it."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from app.models import FlavorAccess, Project
from app.store.database import reading
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
V = "/compute/v2.1/flavors"
BASIC = {"id", "name", "links"}
WHOLE = BASIC | {
    "ram",
    "disk",
    "vcpus",
    "swap",
    "rxtx_factor",
    "OS-FLV-EXT-DATA:ephemeral",
    "OS-FLV-DISABLED:disabled",
    "os-flavor-access:is_public",
}


def project(name: str) -> str:
    """A project's id."""
    with reading() as session:
        return session.scalars(select(Project.id).where(Project.name == name)).one()


def make(site: Site, version: str = "2.1", **more: Any) -> Any:
    """The answer to an administrator's new flavor."""
    body = {"name": "big", "ram": 1024, "vcpus": 2, "disk": 10} | more
    return site.post(V, "admin", json={"flavor": body}, version=version)


def test_a_flavor_is_made_shown_and_removed_while_servers_keep_theirs(site: Site) -> None:
    given = {
        "id": "f1",
        "swap": "512",
        "rxtx_factor": "2.5",
        "OS-FLV-EXT-DATA:ephemeral": 3,
        "os-flavor-access:is_public": "True",
    }
    made = make(site, **given)
    assert made.status_code == 200, made.text
    flavor = made.json["flavor"]
    assert set(flavor) == WHOLE
    assert (flavor["id"], flavor["swap"], flavor["rxtx_factor"]) == ("f1", 512, 2.5)
    assert site.get(f"{V}/f1").json["flavor"] == flavor
    server = site.add_server(flavorRef="f1").json["server"]["id"]
    assert site.delete(f"{V}/f1", "admin").status_code == 202
    assert site.get(f"{V}/f1", "admin").status_code == 404
    assert site.delete(f"{V}/f1", "admin").status_code == 404
    kept = site.get(f"/compute/v2.1/servers/{server}").json["server"]["flavor"]
    assert kept["id"] == "f1"


@pytest.mark.parametrize("given", [None, "auto"])
def test_an_id_is_made_when_none_is_given(site: Site, given: str | None) -> None:
    assert len(make(site, id=given).json["flavor"]["id"]) == 36


def test_an_id_or_name_that_is_taken_is_409(site: Site) -> None:
    assert make(site, id="f1").status_code == 200
    for again in ({"id": "f1", "name": "new"}, {"id": "f2"}):
        answer = make(site, **again)
        assert answer.status_code == 409
        assert "already exists" in answer.json["conflictingRequest"]["message"]


BAD_V: list[Any] = [
    ({"ram": 0}, "ram"),
    ({"ram": "0"}, "ram"),
    ({"ram": 2**31}, "ram"),
    ({"ram": "9999999999"}, "ram"),
    ({"vcpus": -1}, "vcpus"),
    ({"vcpus": 1.5}, "vcpus"),
    ({"disk": "x"}, "disk"),
    ({"disk": None}, "disk"),
    ({"swap": -1}, "swap"),
    ({"OS-FLV-EXT-DATA:ephemeral": True}, "ephemeral"),
    ({"rxtx_factor": 0}, "rxtx_factor"),
    ({"rxtx_factor": "0.0"}, "rxtx_factor"),
    ({"id": "a/b"}, "id"),
    ({"id": " x"}, "id"),
    ({"id": "x" * 256}, "id"),
    ({"name": ""}, "name"),
    ({"name": " x"}, "name"),
    ({"name": "x\n"}, "name"),
    ({"name": "x" * 256}, "name"),
    ({"os-flavor-access:is_public": "maybe"}, "is_public"),
    ({"colour": "red"}, "colour"),
    ({"description": "x"}, "description"),
]


def test_a_bad_flavor_is_400_and_names_the_field(site: Site) -> None:
    for given, field in BAD_V:
        answer = make(site, **given)
        assert answer.status_code == 400, answer.text
        assert field in answer.json["badRequest"]["message"]


def test_a_description_comes_with_2_55_and_specs_with_2_61(site: Site) -> None:
    made = make(site, "2.55", id="f1", description="large").json["flavor"]
    assert set(made) == WHOLE | {"description"}
    put = site.call(
        "PUT", f"{V}/f1", "admin", json={"flavor": {"description": None}}, version="2.61"
    )
    assert put.status_code == 200
    assert set(put.json["flavor"]) == WHOLE | {"description", "extra_specs"}
    assert put.json["flavor"]["description"] is None
    assert set(site.get(V, version="2.55").json["flavors"][0]) == BASIC | {"description"}
    assert set(site.get(V, version="2.54").json["flavors"][0]) == BASIC
    detail = site.get(f"{V}/detail", version="2.61").json["flavors"][0]
    assert set(detail) == WHOLE | {"description", "extra_specs"}
    early = site.call("PUT", f"{V}/f1", "admin", json={"flavor": {"description": None}})
    assert early.status_code == 404
    for body in ({}, {"description": "x" * 65536}, {"description": "x", "ram": 1}):
        bad = site.call("PUT", f"{V}/f1", "admin", json={"flavor": body}, version="2.55")
        assert bad.status_code == 400


def test_no_swap_is_an_empty_text_before_2_75_and_then_a_zero(site: Site) -> None:
    assert site.get(f"{V}/1", version="2.74").json["flavor"]["swap"] == ""
    assert site.get(f"{V}/1", version="2.75").json["flavor"]["swap"] == 0


def test_an_unknown_parameter_is_400_from_2_75(site: Site) -> None:
    assert site.get(f"{V}?colour=red", version="2.74").status_code == 200
    answer = site.get(f"{V}/detail?colour=red", version="2.75")
    assert answer.status_code == 400
    assert "colour" in answer.json["badRequest"]["message"]


def test_only_administrators_make_change_and_remove_flavors(site: Site) -> None:
    body = {"flavor": {"name": "x", "ram": 1, "vcpus": 1, "disk": 1}}
    assert site.post(V, json=body).status_code == 403
    assert site.delete(f"{V}/1").status_code == 403
    assert site.call("PUT", f"{V}/1", json=body, version="2.55").status_code == 403
    assert site.post(f"{V}/1/os-extra_specs", json={"extra_specs": {}}).status_code == 403
    assert site.call("PUT", f"{V}/1/os-extra_specs/a", json={"a": "b"}).status_code == 403
    assert site.delete(f"{V}/1/os-extra_specs/a").status_code == 403
    assert site.get(f"{V}/1/os-flavor-access").status_code == 403
    action = {"addTenantAccess": {"tenant": project("novella")}}
    assert site.post(f"{V}/1/action", json=action).status_code == 403


# Access


def test_a_private_flavor_is_seen_by_whom_it_is_given_to(site: Site) -> None:
    make(site, id="p1", **{"os-flavor-access:is_public": False})
    assert site.get(f"{V}/p1").status_code == 404
    assert site.get(f"{V}/p1/os-extra_specs").status_code == 404
    assert site.add_server(flavorRef="p1").status_code in (400, 404)
    tenant = {"tenant": project("novella")}
    given = site.post(f"{V}/p1/action", "admin", json={"addTenantAccess": tenant})
    expected = {"flavor_access": [{"flavor_id": "p1", "tenant_id": project("novella")}]}
    assert (given.status_code, given.json) == (200, expected)
    assert site.get(f"{V}/p1/os-flavor-access", "admin").json == expected
    assert "p1" in [one["id"] for one in site.get(V).json["flavors"]]
    assert site.get(f"{V}/p1", "other").status_code == 404
    assert "p1" not in [
        one["id"] for one in site.get(f"{V}?is_public=None", "other").json["flavors"]
    ]
    again = site.post(f"{V}/p1/action", "admin", json={"addTenantAccess": tenant})
    assert again.status_code == 409
    taken = site.post(f"{V}/p1/action", "admin", json={"removeTenantAccess": tenant})
    assert taken.json == {"flavor_access": []}
    again = site.post(f"{V}/p1/action", "admin", json={"removeTenantAccess": tenant})
    assert again.status_code == 404
    assert site.get(f"{V}/p1").status_code == 404


def test_administrators_list_public_private_or_both(site: Site) -> None:
    make(site, id="p1", **{"os-flavor-access:is_public": False})

    def listed(query: str, user: str = "admin") -> set[str]:
        return {one["id"] for one in site.get(f"{V}?{query}", user).json["flavors"]}

    assert listed("") == set("123456")
    assert listed("is_public=None") == {*"123456", "p1"}
    assert listed("is_public=false") == {"p1"}
    assert listed("is_public=false", "novella") == set("123456")
    own = {"addTenantAccess": {"tenant": project("admin")}}
    assert site.post(f"{V}/p1/action", "admin", json=own).status_code == 200
    assert listed("is_public=true") == {*"123456", "p1"}
    assert site.get(f"{V}?is_public=perhaps", "admin").status_code == 400


def test_access_to_a_public_flavor_makes_no_sense(site: Site) -> None:
    assert site.get(f"{V}/1/os-flavor-access", "admin").status_code == 404
    tenant = {"addTenantAccess": {"tenant": project("novella")}}
    assert site.post(f"{V}/1/action", "admin", json=tenant, version="2.7").status_code == 409


BAD_ACTIONS: list[Any] = [
    {},
    {"addTenantAccess": {}},
    {"addTenantAccess": {"tenant": "no such project"}},
    {"addTenantAccess": {"tenant": "nosuchproject"}},
    {"addTenantAccess": {"tenant": "a", "more": 1}},
    {"addTenantAccess": {"tenant": "a"}, "removeTenantAccess": {"tenant": "a"}},
    {"grant": {"tenant": "a"}},
]


def test_a_bad_flavor_action_is_400(site: Site) -> None:
    make(site, id="p1", **{"os-flavor-access:is_public": False})
    for body in BAD_ACTIONS:
        assert site.post(f"{V}/p1/action", "admin", json=body).status_code == 400


def test_a_flavor_takes_its_access_with_it(site: Site) -> None:
    make(site, id="p1", **{"os-flavor-access:is_public": False})
    tenant = {"addTenantAccess": {"tenant": project("novella")}}
    site.post(f"{V}/p1/action", "admin", json=tenant)
    site.delete(f"{V}/p1", "admin")
    with reading() as session:
        assert session.scalars(select(FlavorAccess)).all() == []
    make(site, id="p1", **{"os-flavor-access:is_public": False})
    assert site.get(f"{V}/p1").status_code == 404


# Extra specs


def test_extra_specs_are_added_replaced_read_and_removed(site: Site) -> None:
    specs = f"{V}/1/os-extra_specs"
    made = site.post(specs, "admin", json={"extra_specs": {"own:a": "1", "b c": 2.5}})
    assert (made.status_code, made.json) == (200, {"extra_specs": {"own:a": "1", "b c": "2.5"}})
    put = site.call("PUT", f"{specs}/own:a", "admin", json={"own:a": "3"})
    assert (put.status_code, put.json) == (200, {"own:a": "3"})
    assert site.get(specs).json == {"extra_specs": {"own:a": "3", "b c": "2.5"}}
    assert site.get(f"{specs}/own:a").json == {"own:a": "3"}
    gone = site.delete(f"{specs}/own:a", "admin")
    assert (gone.status_code, gone.data) == (200, b"")
    assert site.get(f"{specs}/own:a").status_code == 404
    assert site.delete(f"{specs}/own:a", "admin").status_code == 404
    assert site.post(f"{V}/99/os-extra_specs", "admin", json={"extra_specs": {}}).status_code == 404


BAD_SPECS: list[Any] = [
    {"a/b": "1"},
    {"": "1"},
    {"k" * 256: "1"},
    {"a": "v" * 256},
    {"a": None},
    {"a": True},
    {"a": ["x"]},
    ["a"],
    {f"k{n}": "v" for n in range(257)},
]


def test_bad_extra_specs_are_400(site: Site) -> None:
    for specs in BAD_SPECS:
        answer = site.post(f"{V}/1/os-extra_specs", "admin", json={"extra_specs": specs})
        assert answer.status_code == 400
        assert site.get(f"{V}/1/os-extra_specs").json == {"extra_specs": {}}


def test_one_extra_spec_must_be_the_path_s(site: Site) -> None:
    for body in ({"b": "1"}, {}, {"a": "1", "b": "2"}):
        answer = site.call("PUT", f"{V}/1/os-extra_specs/a", "admin", json=body)
        assert answer.status_code == 400


KNOWN_SPECS: list[Any] = [
    ("hw:cpu_policy", "dedicated", True),
    ("hw:cpu_policy", "sometimes", False),
    ("hw:numa_nodes", "0", False),
    ("hw:numa_cpus.0", "0-2,^1", True),
    ("hw:cpu_polciy", "shared", False),
    ("hw:mem_page_size", "large", True),
    ("resources:CUSTOM_GOLD", "1", True),
    ("resources1:VCPU", "x", False),
    ("trait:HW_CPU_X86_AVX", "required", True),
    ("trait:HW_CPU_X86_AVX", "wanted", False),
    ("quota:disk_read_bytes_sec", "10240000", True),
    ("hw_rng:allowed", "maybe", False),
    ("capabilities:gpu", "s== true", True),
    ("my:key", "anything", True),
    ("plain", "anything", True),
]


def test_known_extra_specs_are_held_to_their_kind_from_2_86(site: Site) -> None:
    for key, value, good in KNOWN_SPECS:
        body = {"extra_specs": {key: value}}
        late = site.post(f"{V}/1/os-extra_specs", "admin", json=body, version="2.86")
        assert late.status_code == (200 if good else 400), late.text
        early = site.post(f"{V}/1/os-extra_specs", "admin", json=body, version="2.85")
        assert early.status_code == 200


def test_from_2_102_flavors_are_found_by_name_and_have_no_factor(site: Site) -> None:
    path = f"{V}/detail?name=tiny"
    (only,) = site.get(path, version="2.102").json["flavors"]
    assert only["name"] == "tiny"
    assert not {"rxtx_factor", "OS-FLV-DISABLED:disabled"} & set(only)
    assert len(site.get(path, version="2.74").json["flavors"]) > 1
    assert site.get(f"{V}?sort_key=rxtx_factor", version="2.102").status_code == 400
    body = {"flavor": {"name": "x", "ram": 1, "vcpus": 1, "disk": 1, "rxtx_factor": 1}}
    assert site.post(V, "admin", json=body, version="2.102").status_code == 400
    assert site.post(V, "admin", json=body, version="2.101").status_code == 200


def test_from_2_102_no_route_takes_parameters_that_it_does_not_know(site: Site) -> None:
    for route in ("flavors/6", "flavors/6/os-extra_specs", "extensions", "os-availability-zone"):
        path = f"/compute/v2.1/{route}?colour=red"
        assert site.get(path, version="2.102").status_code == 400, route
        assert site.get(path, version="2.101").status_code == 200, route
