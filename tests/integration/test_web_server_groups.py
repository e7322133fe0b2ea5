"""Server groups over HTTP: as their versions have them, whose they are, how many there may be."""

from __future__ import annotations

import uuid
from typing import Any

from app.models import Quota
from app.store.database import transaction
from tests.integration.host_rows import V, add_host
from tests.integration.test_web_quotas import project
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
GROUPS = f"{V}/os-server-groups"
OLD = {"id", "name", "policies", "members", "metadata"}
OWNED = {"project_id", "user_id"}
NEW = {"id", "name", "policy", "rules", "members"} | OWNED


def asked(site: Site, version: str = "2.64", user: str = "novella", **group: Any) -> Any:
    """The answer to a creation."""
    body = {"server_group": {"name": "g"} | group}
    return site.post(GROUPS, user, json=body, version=version)


def made(site: Site, policy: str = "anti-affinity", user: str = "novella", **more: Any) -> str:
    """A new group's id."""
    answer = asked(site, user=user, policy=policy, **more)
    assert answer.status_code == 200, answer.text
    return str(answer.json["server_group"]["id"])


def in_group(site: Site, group: str, user: str = "novella", **more: Any) -> Any:
    """The answer to a create with the hint."""
    more.setdefault("imageRef", site.add_image(user))
    server = {"name": "vm", "flavorRef": "6"} | more
    body = {"server": server, "os:scheduler_hints": {"group": group}}
    return site.post(f"{V}/servers", user, json=body)


def limit(**limits: int) -> None:
    """Limits of novella's project."""
    with transaction() as session:
        for resource, hard_limit in limits.items():
            session.add(Quota(project_id=project(), resource=resource, hard_limit=hard_limit))


def test_before_2_64_a_group_has_policies_and_empty_metadata(site: Site) -> None:
    for version, keys in (
        ("2.1", OLD),
        ("2.12", OLD),
        ("2.13", OLD | OWNED),
        ("2.63", OLD | OWNED),
    ):
        group = asked(site, version, policies=["affinity"]).json["server_group"]
        assert set(group) == keys
        assert (group["policies"], group["metadata"], group["members"]) == (["affinity"], {}, [])
        path = f"{GROUPS}/{group['id']}"
        assert site.get(path, version=version).json["server_group"] == group
        assert site.get(GROUPS, version=version).json["server_groups"][-1] == group


def test_from_2_64_a_group_has_one_policy_and_rules(site: Site) -> None:
    plain = asked(site, policy="soft-affinity").json["server_group"]
    assert (set(plain), plain["policy"], plain["rules"]) == (NEW, "soft-affinity", {})
    assert plain["project_id"] == project()
    ruled = asked(site, policy="anti-affinity", rules={"max_server_per_host": "3"})
    assert ruled.json["server_group"]["rules"] == {"max_server_per_host": 3}


MALFORMED: list[tuple[str, dict[str, Any]]] = [
    ("2.1", {"policies": []}),
    ("2.1", {"policies": ["affinity", "anti-affinity"]}),
    ("2.14", {"policies": ["soft-affinity"]}),
    ("2.15", {"policies": ["legacy"]}),
    ("2.15", {"policy": "affinity"}),
    ("2.64", {"policies": ["affinity"]}),
    ("2.64", {}),
    ("2.64", {"policy": "affinity", "rules": {"max_server_per_host": 2}}),
    ("2.64", {"policy": "anti-affinity", "rules": {"max_server_per_host": 0}}),
    ("2.64", {"policy": "anti-affinity", "rules": {"max_server_per_host": "9999999999"}}),
    ("2.64", {"policy": "anti-affinity", "rules": {"other": 2}}),
    ("2.64", {"policy": "affinity", "name": ""}),
    ("2.64", {"policy": "affinity", "name": "a" * 256}),
]


def test_a_malformed_group_is_refused(site: Site) -> None:
    for version, group in MALFORMED:
        answer = asked(site, version, **group)
        assert answer.status_code == 400, answer.text
        assert "server_group" in answer.json["badRequest"]["message"]


def test_soft_policies_come_with_2_15(site: Site) -> None:
    for policy in ("soft-affinity", "soft-anti-affinity"):
        assert asked(site, "2.15", policies=[policy]).status_code == 200


def test_a_group_is_its_project_s_alone(site: Site) -> None:
    group = made(site)
    assert site.get(f"{GROUPS}/{group}", "other").status_code == 404
    assert site.delete(f"{GROUPS}/{group}", "other").status_code == 404
    assert in_group(site, group, "other").status_code == 400
    assert site.get(f"{GROUPS}?all_projects=1", "other").json["server_groups"] == []
    assert site.get(GROUPS, "admin").json["server_groups"] == []
    everybody = site.get(f"{GROUPS}?all_projects=1", "admin").json["server_groups"]
    assert [one["id"] for one in everybody] == [group]
    assert site.get(f"{GROUPS}/{group}", "admin").status_code == 200
    site.add_user("looker", "reader")
    assert asked(site, user="looker", policy="affinity").status_code == 403


def test_lists_have_pages(site: Site) -> None:
    ids = [made(site) for _ in range(3)]
    pages = site.get(f"{GROUPS}?limit=1&offset=1").json["server_groups"]
    assert [one["id"] for one in pages] == [ids[1]]
    assert site.get(f"{GROUPS}?limit=x").status_code == 400
    assert site.get(f"{GROUPS}?x=1", version="2.75").status_code == 400


def test_servers_come_into_the_group_of_their_hint_and_leave_it_deleted(site: Site) -> None:
    group = made(site)
    first = in_group(site, group).json["server"]["id"]
    second = in_group(site, group).json["server"]["id"]
    for version, server in (("2.71", first), ("2.90", second)):
        shown = site.get(f"{V}/servers/{server}", version=version).json["server"]
        assert shown["server_groups"] == [group]
    changed = site.call(
        "PUT", f"{V}/servers/{first}", json={"server": {"name": "n"}}, version="2.71"
    )
    assert changed.json["server"]["server_groups"] == [group]
    assert site.get(f"{GROUPS}/{group}").json["server_group"]["members"] == [first, second]
    site.set_server(first, deleted_at=2.0)
    assert site.get(f"{GROUPS}/{group}").json["server_group"]["members"] == [second]
    assert site.delete(f"{GROUPS}/{group}").status_code == 204
    assert site.get(f"{GROUPS}/{group}").status_code == 404
    shown = site.get(f"{V}/servers/{second}", version="2.71").json["server"]
    assert shown["server_groups"] == [], "the server outlives its group"
    assert in_group(site, group).status_code == 400


def test_a_group_that_is_nobody_s_is_refused_by_name(site: Site) -> None:
    missing = str(uuid.uuid4())
    answer = in_group(site, missing)
    assert (answer.status_code, missing in answer.text) == (400, True)
    assert in_group(site, "x").status_code == 400
    assert site.get(f"{GROUPS}/x").status_code == 404


def test_groups_and_their_members_have_quotas(site: Site) -> None:
    limit(server_groups=2, server_group_members=2)
    group, spare = made(site), made(site)
    refused = asked(site, policy="affinity")
    assert (refused.status_code, "server groups" in refused.text) == (403, True)
    limits = site.get(f"{V}/limits").json["limits"]["absolute"]
    assert (limits["maxServerGroups"], limits["totalServerGroupsUsed"]) == (2, 2)
    detail = site.get(f"{V}/os-quota-sets/{project()}/detail").json["quota_set"]
    assert detail["server_groups"] == {"limit": 2, "in_use": 2, "reserved": 0}
    low = {"quota_set": {"server_groups": 1}}
    path = f"{V}/os-quota-sets/{project()}"
    assert site.call("PUT", path, "admin", json=low).status_code == 400
    site.delete(f"{GROUPS}/{spare}")
    assert site.call("PUT", path, "admin", json=low).status_code == 200
    assert in_group(site, group, min_count=3, max_count=3).status_code == 403
    assert in_group(site, group, min_count=2, max_count=2).status_code == 202
    full = in_group(site, group)
    assert (full.status_code, "in group" in full.text) == (403, True)
    assert len(site.get(f"{GROUPS}/{group}").json["server_group"]["members"]) == 2


def test_a_dry_run_counts_the_group(site: Site) -> None:
    add_host("n1", 1)
    add_host("n2", 2)
    group = made(site)
    member = in_group(site, group).json["server"]["id"]
    site.set_server(member, vm_state="active", host="n1")
    server = {"name": "vm", "flavorRef": "6", "imageRef": site.add_image(), "networks": "none"}
    body = {"server": server | {"max_count": 2}, "os:scheduler_hints": {"group": group}}
    told = site.post("/v1/placement/dry-run", json=body).json["placement"]
    assert (told["fits"], told["refused"]["group_anti_affinity"]) == (1, 2)


def test_a_project_s_groups_go_with_it(site: Site) -> None:
    group = made(site, user="other")
    gone = site.delete(f"/identity/v3/projects/{project('other')}", "admin")
    assert gone.status_code == 204, gone.text
    assert site.get(f"{GROUPS}/{group}", "admin").status_code == 404
