"""Tokens and the catalog, over HTTP."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from app.errors import Invalid
from app.web.factory import create_app
from tests.integration.web_fixtures import (
    PASSWORDS,
    Site,
    adopt_settings,
    credentials,
    forget_process_state,
    seeded_database,
    site,
)

__all__ = ["seeded_database", "site"]
TOKENS = "/identity/v3/auth/tokens"


def test_a_password_gives_a_token_with_roles_and_catalog(site: Site) -> None:
    answer = site.log_in("admin", PASSWORDS["admin"])
    assert answer.status_code == 201
    token = answer.json["token"]
    assert token["project"]["name"] == "admin"
    assert {role["name"] for role in token["roles"]} >= {"admin", "manager", "member", "reader"}
    assert {entry["type"] for entry in token["catalog"]} == {
        "identity",
        "compute",
        "image",
        "network",
    }
    for entry in token["catalog"]:
        assert {one["interface"] for one in entry["endpoints"]} == {"public", "internal", "admin"}
        assert all(one["region"] == "RegionOne" for one in entry["endpoints"])
    time.strptime(token["expires_at"], "%Y-%m-%dT%H:%M:%S.%fZ")


def test_every_endpoint_of_the_catalog_answers_without_a_token(site: Site) -> None:
    for entry in site.log_in("novella", PASSWORDS["novella"]).json["token"]["catalog"]:
        url = entry["endpoints"][0]["url"]
        assert site.client.get(url).status_code in (200, 300), url


def test_a_project_can_be_named_by_id(site: Site) -> None:
    first = site.log_in("novella", PASSWORDS["novella"]).json["token"]
    body = credentials("novella", PASSWORDS["novella"])
    body["auth"]["scope"] = {"project": {"id": first["project"]["id"]}}
    assert site.client.post(TOKENS, json=body).status_code == 201


def test_without_a_scope_the_default_project_is_meant_and_unscoped_means_none(site: Site) -> None:
    body = credentials("novella", PASSWORDS["novella"])
    del body["auth"]["scope"]
    assert site.client.post(TOKENS, json=body).json["token"]["project"]["name"] == "novella"
    body["auth"]["scope"] = "unscoped"
    unscoped = site.client.post(TOKENS, json=body)
    assert "project" not in unscoped.json["token"]
    assert "catalog" not in unscoped.json["token"]
    headers = {"X-Auth-Token": unscoped.headers["X-Subject-Token"]}
    assert site.get("/compute/v2.1/flavors", None, headers=headers).status_code == 403
    projects = site.get("/identity/v3/auth/projects", None, headers=headers).json["projects"]
    assert [one["name"] for one in projects] == ["novella"]


@pytest.mark.parametrize(
    ("user", "password", "project"),
    [
        ("novella", "wrong", "novella"),
        ("nobody", "wrong", "novella"),
        ("novella", PASSWORDS["novella"], "admin"),
        ("novella", PASSWORDS["novella"], "no-such-project"),
    ],
)
def test_wrong_credentials_and_foreign_projects_look_alike(
    site: Site, user: str, password: str, project: str
) -> None:
    answer = site.log_in(user, password, project)
    assert answer.status_code == 401
    assert answer.json["error"]["code"] == 401
    assert answer.json["error"]["message"] == "The request you have made requires authentication."
    assert password not in answer.text


def test_an_unknown_user_takes_as_long_as_a_wrong_password(site: Site) -> None:
    def taken(user: str) -> float:
        start = time.perf_counter()
        for _ in range(5):
            site.log_in(user, "wrong")
        return time.perf_counter() - start

    taken("nobody")
    assert taken("nobody") > taken("novella") / 3


def test_a_token_gives_another_that_lives_no_longer(site: Site) -> None:
    first = site.log_in("novella", PASSWORDS["novella"])
    identity = {"methods": ["token"], "token": {"id": first.headers["X-Subject-Token"]}}
    domain = {"id": "default"}
    scope = {"project": {"name": "novella", "domain": domain}}
    second = site.client.post(TOKENS, json={"auth": {"identity": identity, "scope": scope}})
    assert second.status_code == 201
    assert second.json["token"]["expires_at"] == first.json["token"]["expires_at"]
    assert second.json["token"]["methods"] == ["password", "token"]


def test_a_token_can_be_looked_into_and_given_back(site: Site) -> None:
    text = site.token()
    subject = {"X-Subject-Token": text}
    shown = site.get(TOKENS, headers=subject)
    assert shown.status_code == 200
    assert shown.json["token"]["user"]["name"] == "novella"
    assert site.call("HEAD", TOKENS, headers=subject).status_code == 200
    assert site.get(TOKENS, "other", headers=subject).status_code == 403
    assert site.get(TOKENS, "admin", headers=subject).status_code == 200
    assert site.delete(TOKENS, headers=subject).status_code == 204
    assert site.get("/compute/v2.1/flavors").status_code == 401
    assert site.get(TOKENS, "admin", headers=subject).status_code == 404


def test_another_process_knows_of_a_revocation_within_two_seconds(site: Site) -> None:
    other_process = create_app().test_client()
    headers = {"X-Auth-Token": site.token()}
    assert other_process.get("/compute/v2.1/flavors", headers=headers).status_code == 200
    assert site.delete(TOKENS, headers={"X-Subject-Token": site.token()}).status_code == 204
    time.sleep(2.1)
    assert other_process.get("/compute/v2.1/flavors", headers=headers).status_code == 401


@pytest.mark.parametrize("text", ["", "x", "a.b", "ab" * 5000])
def test_a_forged_token_is_refused(site: Site, text: str) -> None:
    answer = site.get("/compute/v2.1/flavors", None, headers={"X-Auth-Token": text})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Keystone uri=")


def test_a_changed_token_is_refused(site: Site) -> None:
    payload, signature = site.token().rsplit(".", 1)
    forged = f"{payload}A.{signature}"
    answer = site.get("/compute/v2.1/flavors", None, headers={"X-Auth-Token": forged})
    assert answer.status_code == 401


def test_an_expired_token_is_refused(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    text = site.token()
    later = time.time() + 3601
    monkeypatch.setattr("app.web.identity.tokens.time.time", lambda: later)
    assert (
        site.get("/compute/v2.1/flavors", None, headers={"X-Auth-Token": text}).status_code == 401
    )


def test_a_new_key_signs_and_the_old_one_still_verifies(site: Site) -> None:
    old = site.token()
    keys = site.directory / "keys"
    (first,) = keys.glob("*.key")
    assert first.stat().st_mode & 0o777 == 0o600
    (keys / "0002.key").write_text("another-secret\n")
    rotated = create_app().test_client()
    headers = {"X-Auth-Token": old}
    assert rotated.get("/compute/v2.1/flavors", headers=headers).status_code == 200
    fresh = rotated.post(TOKENS, json=credentials("novella", PASSWORDS["novella"]))
    first.unlink()
    without_old = create_app().test_client()
    assert without_old.get("/compute/v2.1/flavors", headers=headers).status_code == 401
    headers = {"X-Auth-Token": fresh.headers["X-Subject-Token"]}
    assert without_old.get("/compute/v2.1/flavors", headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "auth"),
        ({"auth": {"identity": {"methods": []}}}, "auth.identity.methods"),
        ({"auth": {"identity": {"methods": ["password"]}}}, "password"),
        ({"auth": {"identity": {"methods": ["password"], "password": {"user": {"name": "x"}}}}},
         "password"),
        ({"auth": {"identity": {"methods": ["password"], "password": {"user": {
            "name": "novella", "password": "secret-word"}}}}}, "domain"),
        ({"auth": {"identity": {"methods": ["password"], "password": {"user": {
            "name": "novella", "password": ["secret-word"]}}}}}, "password"),
    ],
)  # fmt: skip
def test_a_malformed_login_names_the_field_and_not_the_secret(
    site: Site, body: dict[str, object], field: str
) -> None:
    answer = site.client.post(TOKENS, json=body)
    assert answer.status_code == 400, answer.text
    assert field in answer.json["error"]["message"]
    assert "secret-word" not in answer.text


def test_an_unknown_method_is_401(site: Site) -> None:
    body = {"auth": {"identity": {"methods": ["saml2"]}}}
    assert site.client.post(TOKENS, json=body).status_code == 401


def test_the_catalog_can_be_read_alone(site: Site) -> None:
    shown = site.get("/identity/v3/auth/catalog").json["catalog"]
    assert {entry["type"] for entry in shown} == {"identity", "compute", "image", "network"}


def test_links_follow_the_request_and_trust_no_proxy_unasked(site: Site) -> None:
    headers = {"Host": "cloud.example:8774", "X-Forwarded-Host": "evil.example"}
    shown = site.client.get("/identity/v3", headers=headers).json["version"]["links"][0]["href"]
    assert shown == "http://cloud.example:8774/identity/v3/"


def test_links_follow_a_trusted_proxy_or_the_configured_address(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    behind = create_app(adopt_settings(monkeypatch, site.directory, trusted_proxies="1"))
    headers = {"X-Forwarded-Host": "cloud.example", "X-Forwarded-Proto": "https"}
    shown = behind.test_client().get("/identity/v3", headers=headers).json
    assert shown["version"]["links"][0]["href"] == "https://cloud.example/identity/v3/"
    settings = adopt_settings(monkeypatch, site.directory, public_url="https://api.example/")
    shown = create_app(settings).test_client().get("/identity/v3").json
    assert shown["version"]["links"][0]["href"] == "https://api.example/identity/v3/"


def test_noauth_makes_everybody_admin_and_only_on_loopback(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    open_cloud = create_app(adopt_settings(monkeypatch, site.directory, auth="noauth"))
    answer = open_cloud.test_client().get("/compute/v2.1/servers/detail?all_tenants=1")
    assert answer.status_code == 200
    with pytest.raises(Invalid, match="loopback"):
        create_app(adopt_settings(monkeypatch, site.directory, auth="noauth", bind="0.0.0.0"))


def test_a_token_is_checked_without_a_query(site: Site, tmp_path: Path) -> None:
    site.get("/identity/v3/auth/catalog")
    (tmp_path / "novella.sqlite").rename(tmp_path / "gone")
    forget_process_state()
    assert site.get("/identity/v3/auth/catalog").status_code == 200
    (tmp_path / "gone").rename(tmp_path / "novella.sqlite")
