"""Quota sets and limits over HTTP, each as its microversion has them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from app.models import Project, User
from app.store.database import reading
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
V = "/compute/v2.1"
LASTING = {
    "instances",
    "cores",
    "ram",
    "key_pairs",
    "metadata_items",
    "server_groups",
    "server_group_members",
}
INJECTED = {"injected_files", "injected_file_content_bytes", "injected_file_path_bytes"}
NETWORK = {"fixed_ips", "floating_ips", "security_groups", "security_group_rules"}
BY_VERSION = [
    ("2.1", LASTING | INJECTED | NETWORK),
    ("2.35", LASTING | INJECTED | NETWORK),
    ("2.36", LASTING | INJECTED),
    ("2.56", LASTING | INJECTED),
    ("2.57", LASTING),
]


def project(name: str = "novella") -> str:
    """A project's id."""
    with reading() as session:
        return session.scalars(select(Project.id).where(Project.name == name)).one()


def sets(site: Site, tail: str = "", user: str = "novella", **more: Any) -> Any:
    """The answer about novella's quota set."""
    return site.get(f"{V}/os-quota-sets/{project()}{tail}", user, **more)


def put(site: Site, version: str = "2.57", user: str = "admin", **limits: Any) -> Any:
    """The answer to a change of novella's limits."""
    path = f"{V}/os-quota-sets/{project()}"
    return site.call("PUT", path, user, json={"quota_set": limits}, version=version)


@pytest.mark.parametrize(("version", "names"), BY_VERSION)
def test_a_quota_set_has_what_its_version_knows(site: Site, version: str, names: set[str]) -> None:
    shown = sets(site, version=version).json["quota_set"]
    assert set(shown) == names | {"id"}
    assert set(sets(site, "/defaults", version=version).json["quota_set"]) == names | {"id"}
    detail = sets(site, "/detail", version=version).json["quota_set"]
    assert set(detail) == names | {"id"}
    assert detail["cores"] == {"limit": 20, "in_use": 0, "reserved": 0}
    changed = put(site, version, cores="21")
    assert changed.status_code == 200
    assert set(changed.json["quota_set"]) == names
    left_out = (LASTING | INJECTED | NETWORK) - names
    for name in left_out:
        answer = put(site, version, **{name: 5})
        assert answer.status_code == 400
        assert name in answer.json["badRequest"]["message"]


def test_limits_are_set_shown_enforced_and_reset(site: Site) -> None:
    assert put(site, "2.1", instances=1, ram=-1, floating_ips=7).status_code == 200
    shown = sets(site).json["quota_set"]
    assert (shown["instances"], shown["ram"], shown["floating_ips"]) == (1, -1, 7)
    image = site.add_image()
    assert site.add_server(imageRef=image).status_code == 202
    refused = site.add_server(imageRef=image)
    assert refused.status_code == 403
    assert "instances" in refused.json["forbidden"]["message"]
    used = sets(site, "/detail").json["quota_set"]["instances"]
    assert used == {"limit": 1, "in_use": 1, "reserved": 0}
    absolute = site.get(f"{V}/limits").json["limits"]["absolute"]
    assert (absolute["maxTotalInstances"], absolute["totalInstancesUsed"]) == (1, 1)
    gone = site.delete(f"{V}/os-quota-sets/{project()}", "admin")
    assert (gone.status_code, gone.data) == (202, b"")
    assert sets(site).json["quota_set"]["instances"] == 10
    assert sets(site, "/defaults").json["quota_set"]["instances"] == 10


def test_a_limit_below_use_needs_force(site: Site) -> None:
    image = site.add_image()
    for _ in range(2):
        site.add_server(imageRef=image)
    answer = put(site, instances=1, cores=5)
    assert answer.status_code == 400
    assert "instances" in answer.json["badRequest"]["message"]
    assert sets(site).json["quota_set"]["cores"] == 20  # nothing was done by half
    assert put(site, instances=1, force="true").status_code == 200
    assert site.add_server(imageRef=image).status_code == 403
    assert put(site, instances=-1).status_code == 200
    assert site.add_server(imageRef=image).status_code == 202


BAD_LIMITS: list[Any] = [
    ({"cores": -2}, "cores"),
    ({"cores": 2**31}, "cores"),
    ({"cores": "9999999999"}, "cores"),
    ({"cores": "many"}, "cores"),
    ({"cores": 1.5}, "cores"),
    ({"cores": None}, "cores"),
    ({"cores": True}, "cores"),
    ({"force": "maybe"}, "force"),
    ({"gigabytes": 1}, "gigabytes"),
]


def test_a_bad_limit_is_400_and_names_the_field(site: Site) -> None:
    for limits, field in BAD_LIMITS:
        answer = put(site, **limits)
        assert answer.status_code == 400, answer.text
        assert field in answer.json["badRequest"]["message"]


def test_another_project_s_quota_is_403_whether_it_exists_or_not(site: Site) -> None:
    for tenant in (project("other"), "nosuchproject"):
        for tail in ("", "/detail", "/defaults"):
            assert site.get(f"{V}/os-quota-sets/{tenant}{tail}").status_code == 403
        path = f"{V}/os-quota-sets/{tenant}"
        assert site.call("PUT", path, json={"quota_set": {"cores": 1}}).status_code == 403
        assert site.delete(path).status_code == 403
    assert put(site, user="novella", cores=100).status_code == 403
    missing = site.get(f"{V}/os-quota-sets/nosuchproject", "admin")
    assert missing.status_code == 400
    assert "nosuchproject" in missing.json["badRequest"]["message"]


def test_a_user_has_the_project_s_limits_until_own_ones_are_set_below_them(site: Site) -> None:
    assert sets(site, "?user_id=someone").json == sets(site).json
    path = f"{V}/os-quota-sets/{project()}?user_id=someone"

    def put(cores: int, **more: object) -> TestResponse:
        return site.call("PUT", path, "admin", json={"quota_set": {"cores": cores, **more}})

    assert put(5).json["quota_set"]["cores"] == 5
    assert sets(site, "?user_id=someone").json["quota_set"]["cores"] == 5
    assert sets(site).json["quota_set"]["cores"] == 20
    refused = put(21)
    assert refused.status_code == 400
    assert "available quota 20" in refused.json["badRequest"]["message"]
    assert put(21, force=True).status_code == 200
    assert site.delete(path, "admin").status_code == 202
    assert sets(site, "?user_id=someone").json == sets(site).json
    assert sets(site, "?colour=red", version="2.75").status_code == 400


def test_a_user_s_servers_count_against_the_user_s_own_limit(site: Site) -> None:
    site.built()
    with reading() as session:
        user = session.scalars(select(User.id).where(User.name == "novella")).one()
    path = f"{V}/os-quota-sets/{project()}?user_id={user}"
    for resource in ("instances", "cores", "ram"):
        limit = {"ram": 192}.get(resource, 1)
        body = {"quota_set": {resource: limit}}
        assert site.call("PUT", path, "admin", json=body).status_code == 200
        refused = site.add_server()
        assert refused.status_code == 403
        assert f"Quota exceeded for {resource}" in refused.json["forbidden"]["message"]
        below = site.call("PUT", path, "admin", json={"quota_set": {resource: limit - 1}})
        assert "already used" in below.json["badRequest"]["message"]
        assert site.delete(path, "admin").status_code == 202
    shown = site.get(f"{V}/os-quota-sets/{project()}/detail?user_id={user}").json["quota_set"]
    assert (shown["instances"]["in_use"], shown["ram"]["in_use"]) == (1, 192)
    assert site.add_server().status_code == 202


def test_the_default_class_has_the_limits_of_projects_without_own_ones(site: Site) -> None:
    path = f"{V}/os-quota-class-sets/default"
    assert site.get(path).status_code == 403
    before = site.get(path, "admin").json["quota_class_set"]
    assert before["id"] == "default"
    assert "server_groups" not in before
    changed = {"cores": 33, "instances": 2, "fixed_ips": 99}
    set_now = site.call("PUT", path, "admin", json={"quota_class_set": changed})
    assert set_now.json["quota_class_set"] | {"id": "default"} == before | changed
    assert sets(site).json["quota_set"]["cores"] == 33
    own = {"quota_set": {"cores": 7}}
    site.call("PUT", f"{V}/os-quota-sets/{project()}", "admin", json=own)
    assert sets(site).json["quota_set"]["cores"] == 7
    assert sets(site, "/defaults").json["quota_set"]["cores"] == 33
    newer = site.get(path, "admin", version="2.57").json["quota_class_set"]
    assert {"server_groups", "server_group_members"} <= set(newer)
    assert not {"fixed_ips", "injected_files"} & set(newer)
    for bad in ({}, {"cores": -2}, {"colour": 1}):
        assert site.call("PUT", path, "admin", json={"quota_class_set": bad}).status_code == 400


@pytest.mark.parametrize(
    ("version", "gone"),
    [
        ("2.1", set()),
        ("2.36", {"maxSecurityGroups", "totalFloatingIpsUsed"}),
        ("2.39", {"maxImageMeta", "maxSecurityGroupRules"}),
        ("2.57", {"maxPersonality", "maxPersonalitySize", "maxTotalFloatingIps"}),
    ],
)
def test_limits_lose_fields_as_versions_grow(site: Site, version: str, gone: set[str]) -> None:
    limits = site.get(f"{V}/limits?reserved=False", version=version).json["limits"]
    assert set(limits) == {"rate", "absolute"}
    names = {"2.1": 19, "2.36": 14, "2.39": 13, "2.57": 11}
    assert len(limits["absolute"]) == names[version]
    assert not gone & set(limits["absolute"])


def test_limits_of_another_project_are_for_administrators(site: Site) -> None:
    put(site, cores=7)
    path = f"{V}/limits?tenant_id={project()}"
    assert site.get(path, "admin").json["limits"]["absolute"]["maxTotalCores"] == 7
    assert site.get(path, "other").status_code == 403
    assert site.get(f"{V}/limits?colour=red", version="2.75").status_code == 400
