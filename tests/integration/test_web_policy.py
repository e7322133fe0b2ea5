"""Policy over HTTP: what each role gets at each route, and what a policy.yaml changes."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest

from app.web.policy import INSIDE, routes
from tests.integration.web_fixtures import Site, seeded_database, site
from tests.unit.test_web_policy_matrix import ROLES, about, may

__all__ = ["seeded_database", "site"]
SERVERS = "/compute/v2.1/servers"
ABSENT = "00000000-0000-4000-8000-000000000000"


def write(site: Site, text: str) -> None:
    """Put a policy.yaml in its place, as an operator's tool does: whole, or not at all."""
    path = site.directory / "policy.yaml"
    (site.directory / "new").write_text(text)
    os.replace(site.directory / "new", path)


def filled(path: str) -> str:
    """The guard's path with something that is nowhere for each argument."""
    parts = [ABSENT if part.startswith("<") else part for part in path.split(" ")[0].split("/")]
    return "/".join(parts)


def body(guard: routes.Guard) -> dict[str, Any]:
    """What names the action, where the route has several; else what no schema takes."""
    _, _, action = guard.path.partition(" (")
    return {action.rstrip(")"): None} if action else {"policy": "test"}


@pytest.mark.parametrize("role", [role for role in ROLES.values() if role is not None])
def test_a_role_gets_at_each_route_what_its_rule_says(site: Site, role: str) -> None:
    site.add_user("someone", role)
    wrong = []
    for guard in routes.guards(site.app):
        if guard.rule == INSIDE:
            continue
        answer = site.call(guard.method, filled(guard.path), "someone", json=body(guard))
        named = re.search(rf"{re.escape(str(guard.rule))}(?![\w:-])", answer.text)
        refused = answer.status_code == 403 and named is not None
        if refused is may(str(guard.rule), role, about("p", "u")):
            wrong.append((str(guard), answer.status_code, answer.text[:100]))
    assert wrong == []


def test_policy_yaml_lets_readers_in_and_keeps_members_out_without_a_restart(site: Site) -> None:
    site.add_user("watcher", "reader")
    server_id = site.built()
    action = {"json": {"os-stop": None}}
    assert site.post(f"{SERVERS}/{server_id}/action", **action).status_code == 202
    site.set_server(server_id, vm_state="active", task_state=None)
    write(
        site,
        '"os_compute_api:servers:stop": "rule:operators"\n'
        '"operators": "role:manager"\n'
        '"os_compute_api:servers:create": "role:reader"\n',
    )
    refused = site.post(f"{SERVERS}/{server_id}/action", **action)
    assert refused.status_code == 403
    assert "os_compute_api:servers:stop" in refused.text
    let_in = site.post(SERVERS, "watcher", json={})
    assert let_in.status_code == 400  # and told what is wrong with the body
    write(site, "")
    assert site.post(f"{SERVERS}/{server_id}/action", **action).status_code == 202
    assert site.post(SERVERS, "watcher", json={}).status_code == 403


def test_a_wrong_policy_yaml_keeps_the_rules_that_were(site: Site) -> None:
    write(site, '"os_compute_api:servers:index": "!"')
    assert site.get(SERVERS).status_code == 403
    write(site, '"os_compute_api:servers:indx": "@"')
    assert site.get(SERVERS).status_code == 403
    (site.directory / "policy.yaml").unlink()
    assert site.get(SERVERS).status_code == 403
    write(site, "{}")
    assert site.get(SERVERS).status_code == 200


def test_policy_yaml_says_what_is_shown_of_a_server(site: Site) -> None:
    server_id = site.built()

    def shown(user: str = "novella") -> dict[str, Any]:
        answer = site.get(f"{SERVERS}/{server_id}", user, version="2.47")
        return dict(answer.json["server"])

    hosts = {"OS-EXT-SRV-ATTR:host", "OS-EXT-SRV-ATTR:hypervisor_hostname"}
    assert not hosts & set(shown())
    assert "host_status" not in shown()
    assert "extra_specs" in shown()["flavor"]
    assert hosts <= set(shown("admin"))
    assert shown("admin")["host_status"] == "UNKNOWN"
    write(
        site,
        '"os_compute_api:os-extended-server-attributes": "rule:project_member_or_admin"\n'
        '"os_compute_api:servers:show:host_status:unknown-only": "@"\n'
        '"os_compute_api:servers:show:flavor-extra-specs": "rule:admin_api"\n',
    )
    assert hosts <= set(shown())
    assert shown()["host_status"] == "UNKNOWN"
    assert "extra_specs" not in shown()["flavor"]
    assert "extra_specs" in shown("admin")["flavor"]
    write(site, '"os_compute_api:servers:show:host_status": "role:member"')
    assert shown()["host_status"] == "UNKNOWN"
    assert not hosts & set(shown())


def test_policy_yaml_opens_the_list_of_all_projects_to_a_role(site: Site) -> None:
    mine = site.built()
    everybodys = f"{SERVERS}?all_tenants=1"
    assert site.get(everybodys, "other").status_code == 403
    write(site, '"os_compute_api:servers:index:get_all_tenants": "role:member"')
    assert [one["id"] for one in site.get(everybodys, "other").json["servers"]] == [mine]
    assert site.get(f"{SERVERS}/{mine}", "other").status_code == 404  # what it may list, not touch
    assert site.get("/v1/tasks?all_projects=1", "other").json["tasks"] == []
    write(site, '"novella:tasks:list:all_projects": "role:member"')
    tasks = site.get("/v1/tasks?all_projects=1", "other").json["tasks"]
    assert {one["server_id"] for one in tasks} == {mine}
    assert {one["host"] for one in tasks} == {None}


def test_policy_yaml_makes_administrators(site: Site) -> None:
    server_id = site.built()
    site.add_user("operator", "manager")
    assert site.get(f"{SERVERS}/{server_id}", "operator").status_code == 404
    write(site, '"context_is_admin": "role:admin or role:manager"')
    shown = site.get(f"{SERVERS}/{server_id}", "operator")
    assert shown.status_code == 200
    assert "OS-EXT-SRV-ATTR:host" in shown.json["server"]
    assert site.get("/compute/v2.1/os-services", "operator").status_code == 200
    write(site, '"context_is_admin": "!"')
    assert site.get(f"{SERVERS}/{server_id}", "admin").status_code == 404


def test_a_manager_lists_its_projects_migrations_and_no_others(site: Site) -> None:
    site.add_user("manager", "manager")
    path = "/compute/v2.1/os-migrations"
    me = site.client.get(
        "/identity/v3/auth/projects", headers={"X-Auth-Token": site.token("manager")}
    )
    project = me.json["projects"][0]["id"]
    asked = {"version": "2.80"}
    assert site.get(f"{path}?project_id={project}", "manager", **asked).status_code == 200
    for other in (path, f"{path}?project_id={ABSENT}"):
        refused = site.get(other, "manager", **asked)
        assert refused.status_code == 403
        assert "os-migrations:index:all_projects" in refused.text
    assert site.get(f"{path}?project_id={project}", "novella", **asked).status_code == 403
    assert site.get(path, "admin", **asked).status_code == 200


def test_only_administrators_choose_where_a_server_migrates_to(site: Site) -> None:
    server_id = site.built()
    site.add_user("manager", "manager")
    path = f"{SERVERS}/{server_id}/action"
    live = {"os-migrateLive": {"host": "n2", "block_migration": "auto"}}
    refused = site.post(path, "manager", json=live, version="2.30")
    assert refused.status_code == 403
    assert "migrate_live:host" in refused.text
    cold = site.post(path, "manager", json={"migrate": {"host": "n2"}}, version="2.56")
    assert cold.status_code == 403
    assert "migrate:host" in cold.text
    live["os-migrateLive"]["host"] = None  # type: ignore[assignment]
    assert site.post(path, "manager", json=live, version="2.30").status_code == 404  # another's


def test_a_flavor_without_a_disk_size_is_for_administrators(site: Site) -> None:
    flavor = {"name": "as-the-image", "ram": 64, "vcpus": 1, "disk": 0, "id": "zero"}
    made = site.post("/compute/v2.1/flavors", "admin", json={"flavor": flavor})
    assert made.status_code == 200
    refused = site.add_server(flavorRef="zero")
    assert refused.status_code == 403
    assert "zero_disk_flavor" in refused.text
    assert site.add_server("admin", flavorRef="zero").status_code == 202
    write(site, '"os_compute_api:servers:create:zero_disk_flavor": "rule:project_member_or_admin"')
    assert site.add_server(flavorRef="zero").status_code == 202


def test_policy_yaml_says_who_sees_how_a_network_is_provided(site: Site) -> None:
    path = f"/network/v2.0/networks/{site.default_network()}"
    assert "provider:network_type" not in site.get(path).json["network"]
    write(site, '"get_network:provider:network_type": "role:member"')
    assert "provider:network_type" in site.get(path).json["network"]
    assert "provider:segmentation_id" not in site.get(path).json["network"]
