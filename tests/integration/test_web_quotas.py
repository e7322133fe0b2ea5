"""Quota sets and limits over HTTP, each as its microversion has them."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from app.models import Project
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


def test_a_user_s_limits_are_the_project_s_and_cannot_be_set(site: Site) -> None:
    assert sets(site, "?user_id=someone").json == sets(site).json
    path = f"{V}/os-quota-sets/{project()}?user_id=someone"
    answer = site.call("PUT", path, "admin", json={"quota_set": {"cores": 1}})
    assert answer.status_code == 400
    assert "user_id" in answer.json["badRequest"]["message"]
    assert site.delete(path, "admin").status_code == 400
    assert sets(site, "?colour=red", version="2.75").status_code == 400


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
