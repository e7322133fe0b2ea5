"""policy.yaml about whose a thing is: asked again once the thing, and so its owner, is known."""

from __future__ import annotations

import re

import pytest
from sqlalchemy import select

from app.models import Project, Role, RoleAssignment, User
from app.store import database
from app.web.policy import routes, targets
from tests.integration.test_web_policy import SERVERS, body, write
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
DELETE = "os_compute_api:servers:delete"
NETWORKING = "/network/v2.0"


@pytest.fixture
def colleague(site: Site) -> str:
    """A second member of the project novella."""
    name = "colleague"
    site.add_user(name)
    with database.transaction() as session:
        project = session.scalars(select(Project.id).where(Project.name == "novella")).one()
        member = session.scalars(select(Role.id).where(Role.name == "member")).one()
        user = session.scalars(select(User.id).where(User.name == name)).one()
        session.add(
            RoleAssignment(user_id=user, role_id=member, scope="project", target_id=project)
        )
    answer = site.log_in(name, f"{name}-password", "novella")
    site.tokens[name] = answer.headers["X-Subject-Token"]
    return name


def test_a_rule_on_the_user_lets_only_who_made_the_server_delete_it(
    site: Site, colleague: str
) -> None:
    site.add_user("stranger")
    mine, theirs = site.built(), site.built()
    write(site, f'"{DELETE}": "rule:context_is_admin or user_id:%(user_id)s"')
    refused = site.delete(f"{SERVERS}/{mine}", colleague)
    assert (refused.status_code, DELETE in refused.text) == (403, True)
    assert site.get(f"{SERVERS}/{mine}", colleague).json["server"]["status"] == "ACTIVE"
    assert site.delete(f"{SERVERS}/{mine}", "stranger").status_code == 404
    assert site.delete(f"{SERVERS}/{mine}").status_code == 204
    assert site.delete(f"{SERVERS}/{theirs}", "admin").status_code == 204


def test_a_rule_on_the_project_keeps_administrators_off_other_projects_servers(
    site: Site,
) -> None:
    server = site.built()
    own = site.built("admin")
    write(site, f'"{DELETE}": "rule:project_member_api"')
    refused = site.delete(f"{SERVERS}/{server}", "admin")
    assert (refused.status_code, DELETE in refused.text) == (403, True)
    assert site.delete(f"{SERVERS}/{own}", "admin").status_code == 204
    assert site.delete(f"{SERVERS}/{server}").status_code == 204


def test_each_route_below_a_server_asks_about_who_made_it(site: Site, colleague: str) -> None:
    server = site.built()
    guards = [
        guard
        for guard in routes.guards(site.app)
        if "<server_id>" in guard.path and "user_id" in targets.given(str(guard.rule))
    ]
    actions = [guard for guard in routes.guards(site.app) if guard.path.endswith("(os-stop)")]
    rules = {str(guard.rule) for guard in guards}
    write(site, "\n".join(f'"{rule}": "user_id:%(user_id)s"' for rule in rules))
    refused, others = set(), []
    for guard in guards:
        path = guard.path.split(" ")[0].replace("<server_id>", server)
        path = re.sub(r"<[^>]*>", "00000000-0000-4000-8000-000000000000", path)
        answer = site.call(guard.method, path, colleague, json=body(guard), version="2.40")
        if answer.status_code == 403 and str(guard.rule) in answer.text:
            refused.add(str(guard))
        elif answer.status_code not in (400, 404, 409):  # wrong before it is about the server
            others.append((str(guard), answer.status_code, answer.text[:100]))
    assert others == []
    assert actions
    assert {str(actions[0]), f"GET {SERVERS}/{{server_id}}"} <= refused
    assert len(refused) > 35


@pytest.mark.parametrize(
    ("collection", "wanted", "shown", "removed"),
    [
        ("networks", {}, "get_network", "delete_network"),
        ("routers", {}, "get_router", "delete_router"),
        ("security-groups", {"name": "ours"}, "get_security_group", "delete_security_group"),
        ("ports", None, "get_port", "delete_port"),
    ],
)
def test_administrators_are_kept_off_other_projects_networking_as_the_rules_say(
    site: Site, collection: str, wanted: dict[str, str] | None, shown: str, removed: str
) -> None:
    noun = collection[:-1].replace("-", "_")
    common = site.default_network()
    wanted = {"network_id": common} if wanted is None else wanted
    made = site.post(f"{NETWORKING}/{collection}", json={noun: wanted})
    path = f"{NETWORKING}/{collection}/{made.json[noun]['id']}"
    write(
        site,
        f'"{shown}": "rule:project_reader_api"\n"{removed}": "rule:project_member_api"',
    )
    for method, rule in (("GET", shown), ("DELETE", removed)):
        refused = site.call(method, path, "admin")
        assert (refused.status_code, rule in refused.text) == (403, True), method
    assert site.get(f"{NETWORKING}/networks/{common}", "admin").status_code == 200
    assert site.get(path).status_code == 200
    assert site.delete(path).status_code == 204


def test_administrators_are_kept_off_other_projects_images_but_for_public_ones(
    site: Site,
) -> None:
    private = site.add_image()
    public = site.add_image("admin", visibility="public")
    write(
        site,
        '"get_image": "rule:project_reader_api"\n"delete_image": "rule:project_member_api"',
    )
    for method, rule in (("GET", "get_image"), ("DELETE", "delete_image")):
        refused = site.call(method, f"/image/v2/images/{private}", "admin")
        assert (refused.status_code, rule in refused.text) == (403, True), method
    for user in ("admin", "novella"):
        assert site.get(f"/image/v2/images/{public}", user).status_code == 200
    assert site.delete(f"/image/v2/images/{private}").status_code == 204


def test_groups_and_tasks_are_asked_about_who_made_them(site: Site, colleague: str) -> None:
    kind = {"server_group": {"name": "g", "policies": ["affinity"]}}
    group = site.post("/compute/v2.1/os-server-groups", json=kind).json["server_group"]["id"]
    task = site.add_server().headers["X-Task-Id"]
    rules = {
        "os_compute_api:os-server-groups:show": ("GET", f"/compute/v2.1/os-server-groups/{group}"),
        "novella:tasks:show": ("GET", f"/v1/tasks/{task}"),
        "novella:tasks:cancel": ("DELETE", f"/v1/tasks/{task}"),
    }
    write(site, "\n".join(f'"{rule}": "user_id:%(user_id)s"' for rule in rules))
    for rule, (method, path) in rules.items():
        refused = site.call(method, path, colleague)
        assert (refused.status_code, rule in refused.text) == (403, True), rule
        assert site.call(method, path).status_code in (200, 202), rule


FLOATING = {"addFloatingIp": {"address": "192.0.2.1"}}
PROXIED = {
    "create_floatingip": ("POST", "os-floating-ips", {}),
    "get_floatingip": ("GET", "os-floating-ips", None),
    "delete_floatingip": ("DELETE", "os-floating-ips/none", None),
    "update_floatingip": ("POST", "servers/SERVER/action", FLOATING),
    "create_security_group": ("POST", "os-security-groups", {}),
    "get_security_group": ("GET", "servers/SERVER/os-security-groups", None),
    "update_security_group": ("PUT", "os-security-groups/none", {}),
    "delete_security_group": ("DELETE", "os-security-groups/none", None),
    "create_security_group_rule": ("POST", "os-security-group-rules", {}),
    "delete_security_group_rule": ("DELETE", "os-security-group-rules/none", None),
    "get_network": ("GET", "os-networks", None),
    "create_port": ("POST", "servers/SERVER/os-interface", {"interfaceAttachment": {}}),
    "delete_port": ("DELETE", "servers/SERVER/os-interface/none", None),
    "get_port": ("GET", "servers/SERVER/os-interface", None),
    "update_port": ("POST", "servers/SERVER/action", {"addSecurityGroup": {"name": "default"}}),
}


def test_network_s_rules_hold_for_what_compute_does_in_its_stead(site: Site) -> None:
    server = site.built()

    def ask(rule: str) -> tuple[int, bool]:
        method, path, given = PROXIED[rule]
        path = f"/compute/v2.1/{path.replace('SERVER', server)}"
        more = {} if given is None else {"json": given}
        answer = site.call(method, path, version="2.1", **more)
        return answer.status_code, f"allow {rule} to be" in answer.text

    for rule in PROXIED:
        assert ask(rule)[0] != 403, rule
    write(site, "\n".join(f'"{rule}": "rule:admin_only"' for rule in PROXIED))
    assert {rule: ask(rule) for rule in PROXIED} == dict.fromkeys(PROXIED, (403, True))


def test_what_only_some_may_do_for_others_is_refused_by_the_rule_s_name(site: Site) -> None:
    theirs = {"project_id": "another"}
    for path, given, rule in (
        (f"{NETWORKING}/networks", {"network": theirs}, "create_network"),
        ("/image/v2/images", {"owner": "another"}, "add_image"),
    ):
        refused = site.post(path, json=given)
        assert (refused.status_code, rule in refused.text) == (403, True), path
    server = site.built()
    action = f"{SERVERS}/{server}/action"
    assert site.post(action, "admin", json={"lock": None}).status_code == 202
    refused = site.post(action, json={"unlock": None})
    assert (refused.status_code, "unlock:unlock_override" in refused.text) == (403, True)
