"""`auth = keystone`: what one caller sends is that caller's matter only; access rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from app.config import Settings
from app.errors import Unauthorized, Unavailable
from app.models import Project
from app.web.keystone import access, patience
from app.web.keystone.asked import Asked
from app.web.keystone.callers import Keystone
from app.web.keystone.middleware import Middleware
from tests.keystone_stub import KeystoneStub, keystone_stub

LIST = Asked("listing", "compute", "GET", "/v2.1/servers")
ACCENTED = "/v2.1/servers/caf\u00e9-\u65e5\ufffd"


@pytest.fixture
def stub() -> Iterator[KeystoneStub]:
    with keystone_stub() as made:
        made.add("plain")
        made.add("other")
        made.add("listing", "/v2.1/servers")
        made.add("service", role="service")
        yield made


def settings(stub: KeystoneStub) -> Settings:
    return Settings(auth="keystone", keystone_url=stub.url, keystone_password="secret")


@pytest.fixture
def middleware(stub: KeystoneStub) -> Middleware:
    return Middleware(settings(stub))


@pytest.fixture
def keystone(stub: KeystoneStub, monkeypatch: pytest.MonkeyPatch) -> Keystone:
    """What a web process asks with, but for the rows: there is no database here."""
    monkeypatch.setattr(Keystone, "meet", lambda self, people: None)
    monkeypatch.setattr(patience, "PAUSE_SECONDS", 60.0)
    return Keystone(settings(stub))


@pytest.mark.parametrize(
    ("pattern", "path", "fits"),
    [
        ("/v2.1/servers", "/v2.1/servers", True),
        ("/v2.1/servers", "/v2.1/servers/1", False),
        ("/v2.1/servers", "/v2x1/servers", False),
        ("/v2.1/*", "/v2.1/servers", True),
        ("/v2.1/*", "/v2.1/", False),
        ("/v2.1/*", "/v2.1/servers/1", False),
        ("/v2.1/*/1", "/v2.1/servers/1", True),
        ("/v2.1/a*a", "/v2.1/aaba", True),
        ("/v2.1/a*a", "/v2.1/a/a", False),
        ("/v2.1/servers/{server_id}/action", "/v2.1/servers/1/action", True),
        ("/v2.1/servers/{server_id}/action", "/v2.1/servers/1/2/action", False),
        ("/v2.1/**", "/v2.1/servers/1/action", True),
        ("/v2.1/**", "/v2.1/", True),
        ("/v2.1/**", "/v2.0/servers", False),
        ("/**/action", "/v2.1/servers/1/action", True),
        ("/**/action", "/v2.1/servers/1/actions", False),
        ("/*****x", "/a/bx", True),
        ("**", "", True),
        ("", "", True),
        ("*", "", False),
        ("/v2.1/(", "/v2.1/(", True),
        ("/v2.1/[a-z]+", "/v2.1/a", False),
        ("/.*", "/a", False),
        ("/v2.1/{a", "/v2.1/b", False),
        ("/v2.1/{a", "/v2.1/{a", False),
        ("/v2.1/a}*", "/v2.1/a}b", False),
        ("/*" + "x" * 500, "/a" + "x" * 500, False),
    ],
)
def test_a_rule_fits_the_paths_that_it_describes(pattern: str, path: str, fits: bool) -> None:
    assert access.fits(path, pattern) is fits


@pytest.mark.timeout(20)
@pytest.mark.parametrize("pattern", ["/(.+)+x", "/" + "*a" * 200 + "x", "/" + "**a" * 150 + "x"])
def test_no_rule_takes_long_whatever_a_tenant_wrote(stub: KeystoneStub, pattern: str) -> None:
    stub.add("evil", *[pattern] * 500)
    with pytest.raises(Unauthorized):
        Middleware(settings(stub)).document(Asked("evil", "compute", "GET", "/" + "a" * 4000))


@pytest.mark.parametrize("path", ["/v2.1/(", "/v2.1/[", "*{", "", None, 5, ["/v2.1/servers"]])
def test_a_malformed_rule_allows_nothing(
    middleware: Middleware, stub: KeystoneStub, path: Any
) -> None:
    stub.add("odd", path)
    with pytest.raises(Unauthorized):
        middleware.document(replace(LIST, token="odd"))


@pytest.mark.parametrize(
    ("wrong", "value"),
    [
        ("application_credential", "text"),
        ("application_credential", {"access_rules": "text"}),
        ("application_credential", {"access_rules": []}),
        ("application_credential", {"access_rules": [None, "text"]}),
        ("catalog", []),
    ],
)
def test_rules_of_another_shape_allow_nothing(
    middleware: Middleware, stub: KeystoneStub, wrong: str, value: Any
) -> None:
    stub.tokens["listing"][wrong] = value
    with pytest.raises(Unauthorized):
        middleware.document(LIST)


def test_rules_hold_by_service_method_and_path(middleware: Middleware, stub: KeystoneStub) -> None:
    stub.add("names", "/v2.1/servers/caf%C3%A9-%E6%97%A5%EF%BF%BD")
    assert middleware.document(LIST)["user"]["name"] == "ann"
    assert middleware.document(replace(LIST, token="names", path=ACCENTED))
    for other in (
        {"method": "DELETE"},
        {"path": "/v2.1/flavors"},
        {"path": ACCENTED},
        {"service": "image"},
        {"service": "v1"},
    ):
        with pytest.raises(Unauthorized):
            middleware.document(replace(LIST, **other))


def test_only_a_service_lifts_the_rules_of_whom_it_serves(middleware: Middleware) -> None:
    flavors = replace(LIST, path="/v2.1/flavors")
    assert middleware.document(replace(flavors, service_token="service"))
    for token in ("listing", "plain", "junk"):
        with pytest.raises(Unauthorized):
            middleware.document(replace(flavors, service_token=token))


def test_a_path_may_have_any_letters(middleware: Middleware) -> None:
    assert middleware.document(Asked("plain", "compute", "GET", ACCENTED))


@pytest.mark.parametrize(
    ("odd", "answer"),
    [
        ({"statuses": {"odd": 400}}, Unavailable),
        ({"statuses": {"odd": 431}}, Unavailable),
        ({"tokens": {"odd": None}}, Unavailable),
        ({"tokens": {"odd": {"catalog": 5}}}, Unavailable),
    ],
)
def test_what_one_token_brings_about_is_no_reason_to_refuse_others(
    keystone: Keystone, stub: KeystoneStub, odd: dict[str, Any], answer: type[Exception]
) -> None:
    stub.statuses.update(odd.get("statuses", {}))
    stub.tokens.update(odd.get("tokens", {}))
    assert keystone.token(replace(LIST, token="plain")).user_name == "ann"
    with pytest.raises(answer):
        keystone.token(replace(LIST, token="odd"))
    assert keystone.token(replace(LIST, token="other")).user_name == "ann"


def test_a_keystone_that_fails_is_left_alone(keystone: Keystone, stub: KeystoneStub) -> None:
    stub.statuses["any"] = 500
    for token in ("any", "plain"):
        with pytest.raises(Unavailable):
            keystone.token(replace(LIST, token=token))


def test_odd_letters_of_one_caller_are_no_reason_to_refuse_others(keystone: Keystone) -> None:
    with pytest.raises(Unauthorized):
        keystone.token(replace(LIST, path=ACCENTED))
    assert keystone.token(replace(LIST, token="plain", path=ACCENTED)).user_name == "ann"


def test_an_odd_id_is_not_found_and_not_asked_about(keystone: Keystone, stub: KeystoneStub) -> None:
    for odd in ("..", ".", "", "a/b", "a?b", "p%2e", "caf\u00e9", "p\n", "x" * 65):
        keystone.ask(Project, odd, "plain")
    assert stub.asked == []
    with pytest.raises(Unavailable):
        keystone.ask(Project, "p", "plain")
    assert stub.asked == ["/v3/projects/p"]
    assert keystone.token(replace(LIST, token="plain")).user_name == "ann"
