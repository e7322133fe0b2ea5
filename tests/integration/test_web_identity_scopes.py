"""What tokens are scoped to, what they are made from, and what voids them, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.test import TestResponse

from app.models import Revocation
from app.store import database, identity
from app.web.factory import create_app
from app.web.identity import login
from tests.cloud import eventually
from tests.integration.web_fixtures import (
    PASSWORDS,
    Site,
    adopt_settings,
    credentials,
    seeded_database,
    site,
)

__all__ = ["seeded_database", "site"]
V3 = "/identity/v3"
TOKENS = f"{V3}/auth/tokens"
SYSTEM = {"system": {"all": True}}
UNKNOWN = "0" * 32
FLAVORS = "/compute/v2.1/flavors"


def log_in(site: Site, method: str, part: dict[str, Any], scope: Any = None) -> TestResponse:
    """Ask for a token by one method."""
    body: dict[str, Any] = {"identity": {"methods": [method], method: part}}
    if scope is not None:
        body["scope"] = scope
    return site.client.post(TOKENS, json={"auth": body})


def by_password(site: Site, user: str, scope: Any = None, password: str = "") -> TestResponse:
    """Ask for a token of one of the fixture's users."""
    password = password or PASSWORDS.get(user, f"{user}-password")
    who = {"user": {"name": user, "domain": {"id": "default"}, "password": password}}
    return log_in(site, "password", who, scope)


def text(answer: TestResponse) -> str:
    """The token of an answer."""
    assert answer.status_code == 201, answer.text
    return answer.headers["X-Subject-Token"]


def status(site: Site | FlaskClient, token: str, path: str = FLAVORS) -> int:
    """How a GET with `token` is answered."""
    client = site.client if isinstance(site, Site) else site
    return client.get(path, headers={"X-Auth-Token": token}).status_code


def ids(site: Site, user: str = "novella") -> tuple[str, str]:
    """The user's id and the id of the project of the same name."""
    token = by_password(site, user).json["token"]
    return token["user"]["id"], token["project"]["id"]


def role_ids(site: Site) -> dict[str, str]:
    """Every role's id by its name."""
    shown = site.get(f"{V3}/roles", "admin").json["roles"]
    return {role["name"]: role["id"] for role in shown}


def make_credential(site: Site, user: str = "novella", **more: Any) -> dict[str, Any]:
    """A new application credential of the user, with its secret."""
    path = f"{V3}/users/{ids(site, user)[0]}/application_credentials"
    body = {"application_credential": {"name": "robot"} | more}
    made = site.post(path, user, json=body)
    assert made.status_code == 201, made.text
    return dict(made.json["application_credential"])


def by_credential(site: Site, made: dict[str, Any], scope: Any = None) -> TestResponse:
    """Ask for a token by an application credential."""
    part = {"id": made["id"], "secret": made["secret"]}
    return log_in(site, "application_credential", part, scope)


def test_a_system_token_manages_identity_and_nothing_of_a_project(site: Site) -> None:
    answer = by_password(site, "admin", SYSTEM)
    shown = answer.json["token"]
    assert shown["system"] == {"all": True}
    assert "project" not in shown
    assert {role["name"] for role in shown["roles"]} == {"admin", "manager", "member", "reader"}
    assert len(shown["catalog"]) == 4
    for path in (f"{V3}/users", f"{V3}/projects", f"{V3}/role_assignments", f"{V3}/services"):
        assert status(site, text(answer), path) == 200
    for path in (FLAVORS, "/image/v2/images", "/network/v2.0/networks", "/v1/tasks"):
        assert status(site, text(answer), path) == 403, path


def test_who_has_no_role_on_the_system_gets_no_token_for_it(site: Site) -> None:
    assert by_password(site, "novella", SYSTEM).status_code == 401
    assert site.get(f"{V3}/auth/system").json["system"] == []
    assert site.get(f"{V3}/auth/system", "admin").json["system"] == [{"all": True}]


def test_a_reader_of_the_system_looks_and_changes_nothing(site: Site) -> None:
    user_id, _ = ids(site)
    reader = role_ids(site)["reader"]
    path = f"{V3}/system/users/{user_id}/roles/{reader}"
    assert site.call("PUT", path, "admin").status_code == 204
    headers = {"X-Auth-Token": text(by_password(site, "novella", SYSTEM))}
    assert site.get(f"{V3}/users", None, headers=headers).status_code == 200
    assert site.get(f"{V3}/users/{UNKNOWN}", None, headers=headers).status_code == 404
    body = {"project": {"name": "more"}}
    assert site.post(f"{V3}/projects", None, headers=headers, json=body).status_code == 403
    assert site.delete(f"{V3}/users/{user_id}", None, headers=headers).status_code == 403


def test_a_domain_is_no_scope(site: Site) -> None:
    answer = by_password(site, "admin", {"domain": {"id": "default"}})
    assert answer.status_code == 401
    assert "domain" in answer.json["error"]["message"]
    assert site.get(f"{V3}/auth/domains").json["domains"] == []


SCOPES: list[Any] = [
    {}, {"system": {}}, {"system": {"all": False}}, {"project": {}}, "scoped", 7, ["unscoped"],
    {"project": {"id": "x"}, "system": {"all": True}}, {"project": {"name": "novella"}},
    {"project": {"id": 7}}, {"trust": {"id": "x"}},
]  # fmt: skip


def test_a_malformed_scope_is_400(site: Site) -> None:
    for scope in SCOPES:
        answer = by_password(site, "novella", scope)
        assert answer.status_code == 400, answer.text
        assert any(word in answer.json["error"]["message"] for word in ("scope", "project"))


def test_an_unscoped_token_finds_its_projects_and_becomes_a_scoped_one(site: Site) -> None:
    unscoped = by_password(site, "novella", "unscoped")
    assert not {"project", "roles", "catalog", "system"} & set(unscoped.json["token"])
    assert status(site, text(unscoped)) == 403
    found = site.get(f"{V3}/auth/projects", None, headers={"X-Auth-Token": text(unscoped)})
    (project,) = found.json["projects"]
    scoped = log_in(site, "token", {"id": text(unscoped)}, {"project": {"id": project["id"]}})
    assert status(site, text(scoped)) == 200
    first, second = unscoped.json["token"], scoped.json["token"]
    assert second["audit_ids"][1] == first["audit_ids"][0]
    assert second["expires_at"] == first["expires_at"]


def test_a_token_gives_no_project_and_no_role_that_its_user_does_not_have(site: Site) -> None:
    held = {"id": text(by_password(site, "novella"))}
    for scope in (SYSTEM, {"project": {"name": "admin", "domain": {"id": "default"}}}):
        assert log_in(site, "token", held, scope).status_code == 401
    same = log_in(site, "token", held).json["token"]
    assert {role["name"] for role in same["roles"]} == {"member", "reader"}


def test_a_role_brings_what_it_implies(site: Site) -> None:
    order = ["admin", "manager", "member", "reader"]
    for role in (*order, "service"):
        site.add_user(f"a-{role}", role)
        expected = set(order[order.index(role) :]) if role in order else {role}
        shown = by_password(site, f"a-{role}").json["token"]["roles"]
        assert {one["name"] for one in shown} == expected


def test_a_credential_logs_in_for_its_project_by_id_or_by_name(site: Site) -> None:
    made = make_credential(site, roles=[{"name": "member"}])
    answer = by_credential(site, made)
    shown = answer.json["token"]
    assert shown["methods"] == ["application_credential"]
    assert shown["project"]["name"] == "novella"
    assert {role["name"] for role in shown["roles"]} == {"member", "reader"}
    assert shown["application_credential"] == {
        "id": made["id"], "name": "robot", "restricted": True,
    }  # fmt: skip
    assert status(site, text(answer)) == 200
    named = {
        "name": "robot",
        "secret": made["secret"],
        "user": {"name": "novella", "domain": {"name": "Default"}},
    }
    assert log_in(site, "application_credential", named).status_code == 201
    seen = site.get(TOKENS, "admin", headers={"X-Subject-Token": text(answer)}).json["token"]
    assert seen["application_credential"]["id"] == made["id"]


def test_wrong_credentials_look_alike(site: Site) -> None:
    made = make_credential(site)
    domain = {"id": "default"}
    other, own = ({"name": name, "domain": domain} for name in ("other", "novella"))
    right = {"id": made["id"], "secret": made["secret"]}
    for given in (
        right | {"secret": "wrong"},
        right | {"secret": ""},
        right | {"id": UNKNOWN},
        {"name": "robot", "user": other, "secret": made["secret"]},
        {"name": "nothing", "user": own, "secret": made["secret"]},
    ):
        answer = log_in(site, "application_credential", given)
        assert answer.status_code == 401
        told = answer.json["error"]["message"]
        assert told == "The request you have made requires authentication."


def test_a_credential_asks_for_no_scope_and_its_token_leads_nowhere_else(site: Site) -> None:
    made = make_credential(site, "admin", unrestricted=True)
    own = {"project": {"id": made["project_id"]}}
    for scope in (own, SYSTEM, "unscoped"):
        assert by_credential(site, made, scope).status_code == 401
    held = {"id": text(by_credential(site, made))}
    other = {"project": {"name": "novella", "domain": {"id": "default"}}}
    for scope in (SYSTEM, "unscoped", other):
        assert log_in(site, "token", held, scope).status_code == 401, scope
    for scope in (own, None):
        again = log_in(site, "token", held, scope)
        assert again.json["token"]["application_credential"]["id"] == made["id"]
        assert again.json["token"]["methods"] == ["application_credential", "token"]


def test_a_restricted_credential_makes_and_removes_none(site: Site) -> None:
    restricted = make_credential(site)
    free = make_credential(site, name="free", unrestricted=True, roles=[{"name": "reader"}])
    path = f"{V3}/users/{restricted['user_id']}/application_credentials"
    body = {"application_credential": {"name": "third"}}
    headers = {"X-Auth-Token": text(by_credential(site, restricted))}
    again = log_in(site, "token", {"id": headers["X-Auth-Token"]})
    for token in (headers, {"X-Auth-Token": text(again)}):
        assert site.post(path, None, headers=token, json=body).status_code == 403
        assert site.delete(f"{path}/{free['id']}", None, headers=token).status_code == 403
    assert site.get(path, None, headers=headers).status_code == 200
    headers = {"X-Auth-Token": text(by_credential(site, free))}
    third = site.post(path, None, headers=headers, json=body)
    roles = third.json["application_credential"]["roles"]
    assert [role["name"] for role in roles] == ["reader"]  # no more than its maker had
    more = {"application_credential": {"name": "fourth", "roles": [{"name": "member"}]}}
    refused = site.post(path, None, headers=headers, json=more)
    assert refused.status_code == 400
    assert "roles.0" in refused.json["error"]["message"]


def test_a_credential_ends_at_its_time_and_so_do_its_tokens(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=600)
    made = make_credential(site, expires_at=soon.replace(tzinfo=None).isoformat())
    token = by_credential(site, made).json["token"]
    assert token["expires_at"] == made["expires_at"] + "Z"
    monkeypatch.setattr(
        "app.store.application_credentials.clock", lambda session: soon.timestamp() + 1
    )
    assert by_credential(site, made).status_code == 401


def test_a_credential_is_of_use_as_long_as_its_user_has_its_roles(site: Site) -> None:
    user_id, project_id = ids(site)
    roles = role_ids(site)
    made = make_credential(site, roles=[{"id": roles["member"]}])
    grants = f"{V3}/projects/{project_id}/users/{user_id}/roles"
    assert site.delete(f"{grants}/{roles['member']}", "admin").status_code == 204
    assert by_credential(site, made).status_code == 401
    assert site.call("PUT", f"{grants}/{roles['manager']}", "admin").status_code == 204
    assert by_credential(site, made).status_code == 201  # a manager is a member
    for path, kind, key in (("users", "user", user_id), ("projects", "project", project_id)):
        for enabled, expected in ((False, 401), (True, 201)):
            body = {kind: {"enabled": enabled}}
            changed = site.call("PATCH", f"{V3}/{path}/{key}", "admin", json=body)
            assert changed.status_code == 200, changed.text
            assert by_credential(site, made).status_code == expected


def revoke_by(site: Site, how: str, token: str) -> None:
    """Do what is to void the token of `novella`."""
    user_id, project_id = (
        site.get(f"{V3}/{kind}?name=novella", "admin").json[kind][0]["id"]
        for kind in ("users", "projects")
    )
    user, project = f"{V3}/users/{user_id}", f"{V3}/projects/{project_id}"
    if how == "given back":
        answer = site.delete(TOKENS, "admin", headers={"X-Subject-Token": token})
    elif how == "user disabled":
        answer = site.call("PATCH", user, "admin", json={"user": {"enabled": False}})
    elif how == "user deleted":
        answer = site.delete(user, "admin")
    elif how == "password reset":
        answer = site.call("PATCH", user, "admin", json={"user": {"password": "fresh"}})
    elif how == "password changed":
        body = {"user": {"original_password": PASSWORDS["novella"], "password": "fresh"}}
        answer = site.post(f"{user}/password", json=body)
    elif how == "project disabled":
        answer = site.call("PATCH", project, "admin", json={"project": {"enabled": False}})
    elif how == "project deleted":
        answer = site.delete(project, "admin")
    else:
        role = role_ids(site)["reader"]
        answer = site.delete(f"{project}/users/{user_id}/roles/{role}", "admin")
    assert answer.status_code in (200, 204), answer.text


@pytest.mark.parametrize(
    "how",
    ["given back", "user disabled", "user deleted", "password reset", "password changed",
     "project disabled", "project deleted", "role removed"],
)  # fmt: skip
def test_what_voids_a_token_voids_it_and_all_made_of_it(site: Site, how: str) -> None:
    token, other = site.token(), by_password(site, "other").headers["X-Subject-Token"]
    made_of_it = text(log_in(site, "token", {"id": token}))
    revoke_by(site, how, token)
    for client in (site.client, create_app().test_client()):
        assert status(client, token) == 401
        # A token that was given back is gone alone: who has another one keeps it.
        assert status(client, made_of_it) == (200 if how == "given back" else 401)
        assert status(client, other) == 200
    assert log_in(site, "token", {"id": token}).status_code == 401


def test_another_process_knows_of_a_lost_role_soon(site: Site) -> None:
    token, elsewhere = site.token(), create_app().test_client()
    assert status(elsewhere, token) == 200
    revoke_by(site, "role removed", token)
    eventually(lambda: status(elsewhere, token) == 401, 3.0, "the token is void")


def test_a_token_got_right_after_works_at_once(site: Site) -> None:
    user_id, _ = ids(site)
    old = site.token()
    for password in ("first", "second", "third"):
        body = {"user": {"password": password}}
        assert site.call("PATCH", f"{V3}/users/{user_id}", "admin", json=body).status_code == 200
        fresh = text(by_password(site, "novella", password=password))
        assert status(site, fresh) == 200
        assert status(site, old) == 401
        old = fresh
    assert by_password(site, "novella", password="second").status_code == 401
    for enabled in (False, True):
        body = {"user": {"enabled": enabled}}
        assert site.call("PATCH", f"{V3}/users/{user_id}", "admin", json=body).status_code == 200
    assert status(site, old) == 401
    assert status(site, text(by_password(site, "novella", password="third"))) == 200


def test_another_process_makes_no_new_token_of_a_void_one(site: Site) -> None:
    elsewhere = create_app().test_client()
    token = site.token()
    assert status(elsewhere, token) == 200  # it knows the revocations of now
    revoke_by(site, "password reset", token)
    body = {"identity": {"methods": ["token"], "token": {"id": token}}}
    assert elsewhere.post(TOKENS, json={"auth": body}).status_code == 401


def test_a_password_that_changes_while_it_is_checked_gives_no_token(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.token("admin")
    real = identity.password_matches

    def slow(stored: str | None, given: str) -> bool:
        monkeypatch.setattr(identity, "password_matches", real)
        revoke_by(site, "password reset", "")
        return real(stored, given)

    monkeypatch.setattr(identity, "password_matches", slow)
    assert by_password(site, "novella").status_code == 401


def test_what_changes_while_a_token_is_made_voids_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on PostgreSQL, where each query sees the database of its own moment."""
    site.token("admin")
    real = login._still

    def overtaken(*given: Any) -> Any:
        found = real(*given)
        monkeypatch.setattr(login, "_still", real)
        revoke_by(site, "password reset", "")
        return found

    monkeypatch.setattr(login, "_still", overtaken)
    assert status(site, text(by_password(site, "novella"))) == 401


def test_a_role_lost_on_one_project_leaves_tokens_for_others(site: Site) -> None:
    user_id, _ = ids(site)
    _, elsewhere = ids(site, "other")
    member = role_ids(site)["member"]
    grant = f"{V3}/projects/{elsewhere}/users/{user_id}/roles/{member}"
    assert site.call("PUT", grant, "admin").status_code == 204
    there = text(by_password(site, "novella", {"project": {"id": elsewhere}}))
    assert site.delete(grant, "admin").status_code == 204
    assert status(site, there) == 401
    assert status(site, site.token()) == 200
    grant = f"{V3}/system/users/{user_id}/roles/{member}"
    assert site.call("PUT", grant, "admin").status_code == 204
    whole = text(by_password(site, "novella", SYSTEM))
    assert site.delete(grant, "admin").status_code == 204
    assert status(site, whole, V3 + "/auth/catalog") == 401
    assert status(site, site.token()) == 200


def test_a_deleted_credential_voids_its_tokens_only(site: Site) -> None:
    made = make_credential(site)
    first = text(by_credential(site, made))
    second = text(log_in(site, "token", {"id": first}))
    path = f"{V3}/users/{made['user_id']}/application_credentials/{made['id']}"
    assert site.delete(path).status_code == 204
    assert [status(site, one) for one in (first, second, site.token())] == [401, 401, 200]
    assert by_credential(site, made).status_code == 401


def test_revocations_are_kept_as_long_as_tokens_live_and_then_forgotten(site: Site) -> None:
    token = site.token()
    with database.transaction() as session:
        session.add(Revocation(kind="token", target="old", expires_at=1.0))
    revoke_by(site, "given back", token)
    with database.reading() as session:
        (left,) = session.scalars(select(Revocation))
    expires_at = by_password(site, "novella").json["token"]["expires_at"]
    assert left.expires_at > datetime.fromisoformat(expires_at).timestamp()


def test_every_changed_byte_of_a_token_is_noticed(site: Site) -> None:
    token = site.token()
    for position in range(0, len(token) - 1, 7):
        other = "A" if token[position] != "A" else "B"
        forged = token[:position] + other + token[position + 1 :]
        assert status(site, forged) == 401, position


def test_methods_of_different_users_do_not_add_up(site: Site) -> None:
    body = credentials("novella", PASSWORDS["novella"])
    part = body["auth"]["identity"]
    part |= {"methods": ["password", "token"], "token": {"id": site.token("other")}}
    assert site.client.post(TOKENS, json=body).status_code == 401
    part["token"] = {"id": site.token()}
    both = site.client.post(TOKENS, json=body)
    assert both.json["token"]["methods"] == ["password", "token"]
    part["methods"] = ["password", "application_credential"]
    assert site.client.post(TOKENS, json=body).status_code == 401


def test_identity_works_without_a_token_where_everybody_is_admin(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = create_app(adopt_settings(monkeypatch, site.directory, auth="noauth")).test_client()
    assert len(client.get(f"{V3}/users").json["users"]) == 3
    made = client.post(f"{V3}/projects", json={"project": {"name": "p"}})
    assert made.status_code == 201
    assert client.get(f"{V3}/auth/projects").json["projects"][0]["name"] == "admin"
