"""Projects, users, roles, assignments, credentials and the catalog's parts, over HTTP."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from werkzeug.test import TestResponse

from tests.integration.test_web_identity_scopes import (
    V3,
    by_credential,
    by_password,
    ids,
    make_credential,
    role_ids,
    status,
    text,
)
from tests.integration.web_fixtures import Site, seeded_database, site
from tests.templates import PASSWORDS

__all__ = ["seeded_database", "site"]
UNKNOWN = "0" * 32


def make(site: Site, kind: str, **body: Any) -> dict[str, Any]:
    """A new project, user or role, made by the administrator."""
    answer = site.post(f"{V3}/{kind}s", "admin", json={kind: body})
    assert answer.status_code == 201, answer.text
    return dict(answer.json[kind])


def change(site: Site, kind: str, id_: str, **body: Any) -> TestResponse:
    """PATCH a project, user or role as the administrator."""
    return site.call("PATCH", f"{V3}/{kind}s/{id_}", "admin", json={kind: body})


def names(answer: TestResponse, kind: str) -> list[str]:
    """The names in a list."""
    assert answer.status_code == 200, answer.text
    return [one["name"] for one in answer.json[kind]]


def message(answer: TestResponse, expected: int) -> str:
    """What a refusal says, in Keystone's shape."""
    assert answer.status_code == expected, answer.text
    assert answer.json["error"]["code"] == expected
    assert set(answer.json["error"]) == {"code", "title", "message"}
    return str(answer.json["error"]["message"])


def test_the_life_of_a_project(site: Site) -> None:
    made = make(site, "project", name="lab", description="a lab")
    assert made["enabled"] is True
    assert made["domain_id"] == made["parent_id"] == "default"
    path = f"{V3}/projects/{made['id']}"
    assert site.get(path, "admin").json["project"] == made
    assert made["links"]["self"].endswith(path)
    changed = change(site, "project", made["id"], name="works", description=None, enabled=False)
    expected = made | {"name": "works", "description": "", "enabled": False}
    assert changed.json["project"] == expected
    assert site.delete(path, "admin").status_code == 204
    assert "Could not find project" in message(site.get(path, "admin"), 404)
    assert message(site.delete(path, "admin"), 404)
    assert message(change(site, "project", made["id"], name="x"), 404)


def test_projects_are_listed_filtered_and_paged(site: Site) -> None:
    make(site, "project", name="off", enabled=False)
    base = f"{V3}/projects"
    assert names(site.get(base, "admin"), "projects") == ["admin", "novella", "off", "other"]
    for query, expected in {
        "name=novella": ["novella"],
        "name=novell": [],
        "enabled=false": ["off"],
        "enabled=true": ["admin", "novella", "other"],
        "domain_id=default&name=off": ["off"],
        "domain_id=elsewhere": [],
        "parent_id=default&enabled=0": ["off"],
        "is_domain=true": [],
        "tags=a": [],
    }.items():
        assert names(site.get(f"{base}?{query}", "admin"), "projects") == expected, query
    first = site.get(f"{base}?limit=3", "admin")
    assert names(first, "projects") == ["admin", "novella", "off"]
    rest = site.get(first.json["links"]["next"], "admin")
    assert names(rest, "projects") == ["other"]
    assert rest.json["links"]["next"] is None
    assert "marker" in message(site.get(f"{base}?marker=x", "admin"), 400)
    assert "enabled" in message(site.get(f"{base}?enabled=maybe", "admin"), 400)


def test_a_project_that_owns_something_stays_and_says_what(site: Site) -> None:
    _, project_id = ids(site)
    site.built()
    told = message(site.delete(f"{V3}/projects/{project_id}", "admin"), 409)
    assert "1 server and 1 image" in told
    _, admins = ids(site, "admin")
    assert "1 network" in message(site.delete(f"{V3}/projects/{admins}", "admin"), 409)


def test_what_goes_with_a_project(site: Site) -> None:
    user_id, project_id = ids(site)
    made = make_credential(site)
    assert site.delete(f"{V3}/projects/{project_id}", "admin").status_code == 204
    assert by_credential(site, made).status_code == 401
    assert site.get(f"{V3}/users/{user_id}", "admin").json["user"]["default_project_id"] is None
    assert site.get(f"{V3}/role_assignments?user.id={user_id}", "admin").json == {
        "role_assignments": [],
        "links": {
            "self": f"http://localhost{V3}/role_assignments", "previous": None, "next": None,
        },
    }  # fmt: skip
    unscoped = by_password(site, "novella")
    assert "project" not in unscoped.json["token"]


def test_the_life_of_a_user(site: Site) -> None:
    _, project_id = ids(site, "other")
    made = make(
        site, "user", name="eve", password="pw", email="eve@example.org", description="d",
        default_project_id=project_id,
    )  # fmt: skip
    assert "password" not in str(made).replace("password_expires_at", "")
    assert (made["email"], made["enabled"]) == ("eve@example.org", True)
    path = f"{V3}/users/{made['id']}"
    assert site.get(path, "admin").json["user"] == made
    token = by_password(site, "eve", password="pw")
    assert "project" not in token.json["token"]  # no role there yet
    own = {"X-Auth-Token": text(token)}
    assert site.get(path, None, headers=own).json["user"] == made
    assert site.get(f"{path}/groups", None, headers=own).json["groups"] == []
    assert site.get(f"{path}/projects", None, headers=own).json["projects"] == []
    changed = change(site, "user", made["id"], name="eva", email=None, description="x")
    assert changed.json["user"] == made | {"name": "eva", "email": None, "description": "x"}
    assert status(site, own["X-Auth-Token"], path) == 200  # nothing that voids a token
    assert change(site, "user", made["id"], password=None).status_code == 200
    assert by_password(site, "eva", password="pw").status_code == 401
    assert site.delete(path, "admin").status_code == 204
    assert message(site.get(path, "admin"), 404)
    assert message(site.get(f"{path}/projects", "admin"), 404)
    assert message(site.delete(path, "admin"), 404)


def test_users_are_listed_and_filtered(site: Site) -> None:
    make(site, "user", name="off", enabled=False)
    base = f"{V3}/users"
    assert names(site.get(base, "admin"), "users") == ["admin", "novella", "off", "other"]
    assert names(site.get(f"{base}?name=off", "admin"), "users") == ["off"]
    assert names(site.get(f"{base}?enabled=true&limit=2", "admin"), "users") == ["admin", "novella"]
    assert names(site.get(f"{base}?domain_id=x", "admin"), "users") == []


def test_one_s_own_password_is_changed_by_who_knows_it(site: Site) -> None:
    user_id, _ = ids(site)
    path = f"{V3}/users/{user_id}/password"
    body = {"user": {"original_password": "wrong", "password": "fresh"}}
    assert site.post(path, json=body).status_code == 401
    body["user"]["original_password"] = PASSWORDS["novella"]
    for stranger in ("other", "admin"):
        assert site.post(path, stranger, json=body).status_code == 403
    assert site.post(path, json=body).status_code == 204
    assert by_password(site, "novella", password="fresh").status_code == 201


def test_the_life_of_a_role(site: Site) -> None:
    made = make(site, "role", name="auditor", description="looks")
    path = f"{V3}/roles/{made['id']}"
    assert site.get(path, "admin").json["role"] == made
    assert names(site.get(f"{V3}/roles?name=auditor", "admin"), "roles") == ["auditor"]
    assert change(site, "role", made["id"], name="viewer").json["role"]["name"] == "viewer"
    user_id, project_id = ids(site)
    grant = f"{V3}/projects/{project_id}/users/{user_id}/roles/{made['id']}"
    assert site.call("PUT", grant, "admin").status_code == 204
    answer = by_password(site, "novella")
    assert "viewer" in {role["name"] for role in answer.json["token"]["roles"]}
    assert site.delete(path, "admin").status_code == 204
    assert status(site, text(answer)) == 401
    assert message(site.get(path, "admin"), 404)
    roles = by_password(site, "novella").json["token"]["roles"]
    assert {role["name"] for role in roles} == {"member", "reader"}


def test_built_in_roles_keep_their_names(site: Site) -> None:
    for role, role_id in role_ids(site).items():
        assert role in message(change(site, "role", role_id, name="x"), 403)
        assert role in message(site.delete(f"{V3}/roles/{role_id}", "admin"), 403)
        assert change(site, "role", role_id, name=role, description="d").status_code == 200
    assert set(role_ids(site)) == {"admin", "manager", "member", "reader", "service"}
    assert by_password(site, "admin").status_code == 201


def test_a_name_is_taken_once(site: Site) -> None:
    for kind, name in (("project", "novella"), ("user", "novella"), ("role", "member")):
        again = site.post(f"{V3}/{kind}s", "admin", json={kind: {"name": name}})
        assert message(again, 409), kind
        made = make(site, kind, name="fresh")
        assert message(change(site, kind, made["id"], name=name, description="d"), 409)
    made = make(site, "user", name="third")
    assert message(change(site, "user", made["id"], name="novella", enabled=False), 409)
    with ThreadPoolExecutor(4) as pool:
        body = {"user": {"name": "race"}}
        done = pool.map(lambda _: site.post(f"{V3}/users", "admin", json=body), range(4))
        assert sorted(answer.status_code for answer in done) == [201, 409, 409, 409]


def test_the_life_of_a_role_on_a_project(site: Site) -> None:
    user_id, _ = ids(site)
    project = make(site, "project", name="lab")["id"]
    member = role_ids(site)["member"]
    roles = f"{V3}/projects/{project}/users/{user_id}/roles"
    assert site.get(roles, "admin").json["roles"] == []
    for _ in range(2):
        assert site.call("PUT", f"{roles}/{member}", "admin").status_code == 204
    for method in ("HEAD", "GET"):
        assert site.call(method, f"{roles}/{member}", "admin").status_code == 204
    assert names(site.get(roles, "admin"), "roles") == ["member"]
    mine = site.get(f"{V3}/users/{user_id}/projects")
    assert names(mine, "projects") == ["lab", "novella"]
    assert names(site.get(f"{V3}/users/{user_id}/projects?name=lab"), "projects") == ["lab"]
    assert site.delete(f"{roles}/{member}", "admin").status_code == 204
    assert message(site.get(f"{roles}/{member}", "admin"), 404)
    assert message(site.delete(f"{roles}/{member}", "admin"), 404)


def test_a_role_needs_a_project_and_a_user_that_exist(site: Site) -> None:
    user_id, project_id = ids(site)
    there = {"project": project_id, "user": user_id, "role": role_ids(site)["admin"]}
    for missing in there:
        found = there | {missing: UNKNOWN}
        path = f"{V3}/projects/{found['project']}/users/{found['user']}/roles/{found['role']}"
        for method in ("PUT", "GET", "DELETE"):
            assert missing in message(site.call(method, path, "admin"), 404)


def test_assignments_are_listed_by_what_they_name(site: Site) -> None:
    user_id, project_id = ids(site)
    admin_id, _ = ids(site, "admin")
    roles = role_ids(site)
    base = f"{V3}/role_assignments"

    def listed(query: str) -> list[dict[str, Any]]:
        answer = site.get(f"{base}?{query}", "admin")
        assert answer.status_code == 200, answer.text
        return list(answer.json["role_assignments"])

    assert len(listed("")) == 5  # admin twice, novella twice, other once
    mine = listed(f"user.id={user_id}&scope.project.id={project_id}&include_names=True")
    assert [one["role"]["name"] for one in mine] == ["member", "reader"]
    domain = {"id": "default", "name": "Default"}
    assert mine[0]["scope"]["project"] == {"id": project_id, "name": "novella", "domain": domain}
    assert mine[0]["user"] == {"id": user_id, "name": "novella", "domain": domain}
    (system,) = listed("scope.system=all")
    assert system["scope"] == {"system": {"all": True}}
    assert system["user"] == {"id": admin_id}
    assert len(listed(f"user.id={admin_id}&scope.system=all&effective")) == 4
    readers = listed(f"role.id={roles['reader']}&effective=True")
    assert len(readers) == 4  # admin on project and system, novella, other
    assert len(listed(f"role.id={roles['reader']}")) == 1
    for none in ("scope.domain.id=default", "group.id=x", "user.id=x", "role.id=x"):
        assert listed(none) == []


def test_the_life_of_an_application_credential(site: Site) -> None:
    made = make_credential(site, description="for CI", roles=[{"name": "reader"}])
    assert len(made["secret"]) > 64
    shown = {name: value for name, value in made.items() if name != "secret"}
    base = f"{V3}/users/{made['user_id']}/application_credentials"
    assert site.get(f"{base}/{made['id']}").json["application_credential"] == shown
    assert site.get(base).json["application_credentials"] == [shown]
    assert site.get(f"{base}?name=robot").json["application_credentials"] == [shown]
    assert site.get(f"{base}?name=x").json["application_credentials"] == []
    assert site.get(base, "admin").json["application_credentials"] == [shown]
    own = make_credential(site, name="own", secret="of my own", roles=None, expires_at=None)
    assert own["secret"] == "of my own"
    assert {role["name"] for role in own["roles"]} == {"member", "reader"}
    taken = {"application_credential": {"name": "robot"}}
    assert message(site.post(base, json=taken), 409)
    assert site.delete(f"{base}/{made['id']}").status_code == 204
    assert message(site.get(f"{base}/{made['id']}"), 404)
    assert message(site.delete(f"{base}/{made['id']}"), 404)
    assert site.delete(f"{base}/{own['id']}", "admin").status_code == 204


BAD_CREDENTIALS: list[tuple[str, Any]] = [
    ("name", ""), ("name", 7), ("name", "x" * 300), ("roles", [{"name": "admin"}]),
    ("roles", [{"id": UNKNOWN}]), ("roles", [{}]), ("roles", "member"),
    ("expires_at", "soon"), ("expires_at", "2001-01-01T00:00:00"), ("expires_at", 7),
    ("unrestricted", "yes"), ("secret", 7), ("project_id", UNKNOWN),
    ("access_rules", [{"method": "GET", "path": "/v2.1/servers", "service": "compute"}]),
    ("surprise", 1),
]  # fmt: skip


def test_a_malformed_credential_names_the_field(site: Site) -> None:
    path = f"{V3}/users/{ids(site)[0]}/application_credentials"
    for field, value in BAD_CREDENTIALS:
        body = {"application_credential": {"name": "robot"} | {field: value}}
        assert field in message(site.post(path, json=body), 400)
    assert site.get(path).json["application_credentials"] == []


def test_nobody_makes_credentials_for_others_or_without_a_project(site: Site) -> None:
    user_id, _ = ids(site)
    body = {"application_credential": {"name": "robot"}}
    path = f"{V3}/users/{user_id}/application_credentials"
    assert site.post(path, "admin", json=body).status_code == 403
    unscoped = {"X-Auth-Token": text(by_password(site, "novella", "unscoped"))}
    assert "project" in message(site.post(path, None, headers=unscoped, json=body), 403)


FOREIGN = [
    ("GET", "/projects/{project}"), ("PATCH", "/projects/{project}"),
    ("DELETE", "/projects/{project}"), ("GET", "/users/{user}"), ("PATCH", "/users/{user}"),
    ("DELETE", "/users/{user}"), ("POST", "/users/{user}/password"),
    ("GET", "/users/{user}/projects"), ("GET", "/users/{user}/groups"),
    ("GET", "/users/{user}/application_credentials"),
    ("POST", "/users/{user}/application_credentials"),
    ("GET", "/users/{user}/application_credentials/{credential}"),
    ("DELETE", "/users/{user}/application_credentials/{credential}"),
    ("GET", "/roles/{role}"), ("PATCH", "/roles/{role}"), ("DELETE", "/roles/{role}"),
    ("GET", "/projects/{project}/users/{user}/roles"),
    ("PUT", "/projects/{project}/users/{user}/roles/{role}"),
    ("GET", "/projects/{project}/users/{user}/roles/{role}"),
    ("DELETE", "/projects/{project}/users/{user}/roles/{role}"),
    ("GET", "/system/users/{user}/roles"), ("PUT", "/system/users/{user}/roles/{role}"),
    ("DELETE", "/system/users/{user}/roles/{role}"), ("GET", "/role_assignments"),
    ("GET", "/users"), ("POST", "/users"), ("GET", "/projects"), ("POST", "/projects"),
    ("POST", "/roles"), ("GET", "/domains"), ("GET", "/groups"), ("GET", "/services"),
]  # fmt: skip


def test_who_is_no_administrator_learns_nothing_of_others(site: Site) -> None:
    user_id, project_id = ids(site, "other")
    found = {
        "user": user_id, "project": project_id, "role": role_ids(site)["member"],
        "credential": make_credential(site, "other")["id"],
    }  # fmt: skip
    before = site.get(f"{V3}/role_assignments", "admin").json
    for method, path in FOREIGN:
        real = site.call(method, V3 + path.format(**found), json={})
        unknown = site.call(method, V3 + path.format(**dict.fromkeys(found, UNKNOWN)), json={})
        assert message(real, 403) == message(unknown, 403), path
    assert site.get(f"{V3}/role_assignments", "admin").json == before
    credential = f"/application_credentials/{found['credential']}"
    assert message(site.get(f"{V3}/users/{ids(site)[0]}{credential}"), 404)


def test_one_s_own_project_and_user_are_one_s_own_to_see(site: Site) -> None:
    user_id, project_id = ids(site)
    assert site.get(f"{V3}/projects/{project_id}").json["project"]["name"] == "novella"
    assert site.get(f"{V3}/users/{user_id}").json["user"]["name"] == "novella"


MALFORMED: list[tuple[str, Any]] = [
    ("name", None), ("name", ""), ("name", "  "), ("name", 7), ("name", ["x"]),
    ("name", "x" * 256), ("description", 7), ("description", "x" * 5000),
    ("surprise", "x"), ("options", {"immutable": True}), ("options", []), ("domain_id", "x"),
]  # fmt: skip


@pytest.mark.parametrize("kind", ["project", "user", "role"])
def test_a_malformed_body_names_the_field(site: Site, kind: str) -> None:
    made = make(site, kind, name="valid")
    for field, value in MALFORMED:
        body = {kind: {"name": "fresh"} | {field: value}}
        assert field in message(site.post(f"{V3}/{kind}s", "admin", json=body), 400)
        assert field in message(change(site, kind, made["id"], **{field: value}), 400)
    assert names(site.get(f"{V3}/{kind}s?name=fresh", "admin"), f"{kind}s") == []


FORMS: list[tuple[str, str, Any]] = [
    ("project", "enabled", "yes"), ("project", "parent_id", UNKNOWN),
    ("project", "is_domain", True), ("project", "tags", ["a"]),
    ("user", "enabled", 1), ("user", "email", 7), ("user", "email", "x" * 256),
    ("user", "password", 7), ("user", "password", ""), ("user", "password", "x" * 5000),
    ("user", "default_project_id", UNKNOWN), ("user", "default_project_id", 2**70),
]  # fmt: skip


def test_each_field_has_its_form(site: Site) -> None:
    for kind, field, value in FORMS:
        body = {kind: {"name": "fresh", field: value}}
        told = message(site.post(f"{V3}/{kind}s", "admin", json=body), 400)
        assert f"{kind}.{field}" in told
        assert str(value)[:40] not in told or len(str(value)) < 5


BODIES: list[tuple[dict[str, Any], int]] = [
    ({"data": "{}", "content_type": "text/plain"}, 415),
    ({"data": "{", "content_type": "application/json"}, 400),
    ({"data": '{"user": {"name": "a\\u0000b"}}', "content_type": "application/json"}, 400),
    ({"data": "[" * 50_000, "content_type": "application/json"}, 400),
    ({"data": '{"user": "' + "x" * 200_000 + '"}', "content_type": "application/json"}, 413),
    ({"json": []}, 400), ({"json": {}}, 400), ({"json": {"user": None}}, 400),
    ({"json": {"user": {}}}, 400), ({"json": {"user": {"name": "x"}, "more": 1}}, 400),
]  # fmt: skip


def test_what_is_no_such_body_is_refused(site: Site) -> None:
    for given, expected in BODIES:
        message(site.post(f"{V3}/users", "admin", **given), expected)
    assert names(site.get(f"{V3}/users", "admin"), "users") == ["admin", "novella", "other"]


def test_an_odd_id_is_nobody_s(site: Site) -> None:
    for odd in ("x", "a" * 3000, "%00", "%ff%fe", "ü", "' OR 1=1 --"):
        for method, path in (
            ("GET", f"/users/{odd}"), ("DELETE", f"/users/{odd}"),
            ("GET", f"/projects/{odd}"), ("PUT", f"/system/users/{odd}/roles/x"),
        ):  # fmt: skip
            answer = site.call(method, V3 + path, "admin")
            assert answer.status_code in (400, 404), answer.text
            assert len(answer.text) < 500


def test_services_endpoints_and_regions_are_those_of_the_catalog(site: Site) -> None:
    services = site.get(f"{V3}/services", "admin").json["services"]
    assert {one["type"] for one in services} == {"identity", "compute", "image", "network"}
    endpoints = site.get(f"{V3}/endpoints", "admin").json["endpoints"]
    assert len(endpoints) == 12
    for one in endpoints:
        path = f"{V3}/endpoints/{one['id']}"
        assert site.get(path, "admin").json["endpoint"] == one
        service = site.get(f"{V3}/services/{one['service_id']}", "admin").json["service"]
        assert service in services
    public = site.get(f"{V3}/endpoints?service_id=compute&interface=public", "admin")
    (found,) = public.json["endpoints"]
    assert found["url"].endswith("/compute/v2.1")
    named = site.get(f"{V3}/services?name=nova", "admin").json["services"]
    assert [one["type"] for one in named] == ["compute"]
    (region,) = site.get(f"{V3}/regions").json["regions"]
    assert site.get(f"{V3}/regions/{region['id']}").json["region"] == region
    for path in ("services/x", "endpoints/x", "regions/x", "domains/x"):
        assert message(site.get(f"{V3}/{path}", "admin"), 404)


def test_there_is_one_domain_and_no_group(site: Site) -> None:
    (domain,) = site.get(f"{V3}/domains?name=Default", "admin").json["domains"]
    assert domain["id"] == "default"
    assert site.get(f"{V3}/domains/default", "admin").json["domain"] == domain
    assert site.get(f"{V3}/domains?name=x", "admin").json["domains"] == []
    assert site.get(f"{V3}/domains?enabled=false", "admin").json["domains"] == []
    assert site.get(f"{V3}/groups", "admin").json["groups"] == []
