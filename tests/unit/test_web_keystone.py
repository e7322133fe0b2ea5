"""`auth = keystone`: settings, what is read from documents, and how long Keystone is waited for."""

from __future__ import annotations

import http.server
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from app.config import Settings, load
from app.errors import Forbidden, Invalid, Unauthorized, Unavailable
from app.models import Project
from app.web import modes
from app.web.keystone import configured, patience
from app.web.keystone.asked import Asked
from app.web.keystone.callers import Remembered, read
from app.web.keystone.lookup import Lookup
from app.web.keystone.middleware import Middleware
from app.web.keystone.patience import Away, Patience

GOOD: dict[str, Any] = {
    "auth": "keystone",
    "keystone_url": "https://keystone.example:5000/v3",
    "keystone_password": "secret",
}
DOCUMENT: dict[str, Any] = {
    "methods": ["password"],
    "user": {"id": "u1", "name": "ann", "domain": {"id": "default", "name": "Default"}},
    "project": {"id": "p1", "name": "red", "domain": {"id": "d2", "name": "Second"}},
    "roles": [{"id": "r1", "name": "member"}, {"id": "r2", "name": "reader"}],
    "audit_ids": ["a1"],
    "issued_at": "2026-01-01T00:00:00.000000Z",
    "expires_at": "2026-01-01T01:00:00.000000Z",
}


def test_settings_that_name_a_keystone_are_good() -> None:
    modes.check(Settings(**GOOD))
    assert Settings(**GOOD, keystone_user="nova").keystone_user == "nova"


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"auth": "keystoan"}, "auth: 'keystoan' is not one of identity, keystone, noauth"),
        ({"keystone_url": ""}, "keystone_url: auth = keystone needs it"),
        ({"keystone_password": ""}, "keystone_password: auth = keystone needs it"),
        ({"keystone_user": ""}, "keystone_user: auth = keystone needs it"),
        ({"keystone_project": ""}, "keystone_project: auth = keystone needs it"),
        ({"keystone_url": "keystone:5000"}, "keystone_url: must be http"),
        ({"keystone_url": "http://[1"}, "keystone_url: must be http"),
        ({"keystone_url": "http://a:b@keystone"}, "without user and query"),
        ({"keystone_public_url": "ftp://keystone"}, "keystone_public_url: must be http"),
        ({"keystone_interface": "private"}, "'private' is not one of public, internal, admin"),
        ({"keystone_timeout": 0.0}, "keystone_timeout: must be above 0 and at most 60"),
        ({"keystone_timeout": 61.0}, "keystone_timeout: must be above 0 and at most 60"),
        ({"keystone_cache_seconds": -1.0}, "keystone_cache_seconds: must be from 0 to 3600"),
        ({"keystone_ca": Path("/nowhere/ca.pem")}, "keystone_ca: there is no file /nowhere/ca.pem"),
    ],
)
def test_a_wrong_setting_is_refused_by_its_name(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(Invalid, match=message.replace("[", r"\[")) as refused:
        modes.check(Settings(**(GOOD | wrong)))
    assert "a:b" not in refused.value.message


def test_without_the_extra_the_start_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keystonemiddleware", None)
    with pytest.raises(Invalid, match=r"install novella\[keystone\]"):
        modes.check(Settings(**GOOD))


def test_the_password_comes_from_a_file(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("from the file\n")
    made = load({"NOVELLA_KEYSTONE_PASSWORD_FILE": str(tmp_path / "password")})
    assert made.keystone_password == "from the file"


@pytest.mark.parametrize("given", ["http://k:5000", "http://k:5000/", "http://k:5000/v3/"])
def test_keystone_s_address_may_name_the_version_or_not(given: str) -> None:
    assert configured.v3(given) == "http://k:5000/v3"
    assert configured.clients_url(Settings(keystone_url=given)) == "http://k:5000"
    other = Settings(keystone_url=given, keystone_public_url="https://public/identity/v3")
    assert configured.clients_url(other) == "https://public/identity"


def test_a_document_becomes_the_caller_that_it_describes() -> None:
    token, (user, project) = read(DOCUMENT)
    caller = token.caller("req-1")
    assert (caller.user_id, caller.user_name) == ("u1", "ann")
    assert (caller.project_id, caller.project_name) == ("p1", "red")
    assert caller.roles == {"member", "reader"}
    assert not caller.is_system
    assert token.expires_at - token.issued_at == 3600
    assert (user.domain, project.domain) == (("default", "Default"), ("d2", "Second"))


def test_scopes_that_are_no_project_make_callers_without_one() -> None:
    rest = {key: value for key, value in DOCUMENT.items() if key != "project"}
    token, people = read({**rest, "system": {"all": True}})
    assert (token.project_id, token.is_system, len(people)) == (None, True, 1)
    token, _ = read({**rest, "roles": None})
    assert (token.project_id, token.is_system, token.roles) == (None, False, ())
    token, _ = read({**rest, "domain": {"id": "default", "name": "Default"}})
    assert (token.project_id, token.is_system) == (None, False)


@pytest.mark.parametrize(
    "wrong",
    [
        {"user": None},
        {"user": {"id": "x" * 65, "name": "long"}},
        {"user": {"id": 5, "name": "number"}},
        {"expires_at": None},
        {"expires_at": "soon"},
        {"roles": [{"name": "no id"}]},
        {"project": "red"},
    ],
)
def test_a_document_that_is_not_keystone_s_is_a_503_and_no_500(wrong: dict[str, Any]) -> None:
    with pytest.raises(Unavailable):
        read(DOCUMENT | wrong)


def test_a_token_is_remembered_for_its_time_and_not_past_its_end() -> None:
    token, _ = read(DOCUMENT | {"expires_at": "2999-01-01T00:00:00.000000Z"})
    remembered = Remembered(60)
    assert remembered.get("text") is None
    remembered.put("text", token)
    assert remembered.get("text") is token
    assert remembered.get("other") is None
    assert "text" not in repr(vars(remembered))
    expired, _ = read(DOCUMENT)
    remembered.put("text", expired)
    assert remembered.get("text") is None
    forgetful = Remembered(0)
    forgetful.put("text", token)
    assert forgetful.get("text") is None


def hung(patient: Patience, release: threading.Event) -> None:
    with pytest.raises(Unavailable, match="does not answer"):
        patient.run(lambda: release.wait(30))


def test_a_call_that_hangs_is_given_up_in_time_and_then_one_caller_tries(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    release, asked = threading.Event(), []
    patient = Patience("It", 0.1, 4, 4)
    try:
        hung(patient, release)
        with pytest.raises(Unavailable, match="does not answer"):
            patient.run(lambda: asked.append(1))
        assert asked == []
        monkeypatch.setattr(patience, "PAUSE_SECONDS", 0.0)
        patient.run(lambda: asked.append(2))
        patient.run(lambda: asked.append(3))
        assert asked == [2, 3]
    finally:
        release.set()


def test_while_one_caller_tries_all_others_are_refused_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "PAUSE_SECONDS", 0.0)
    release, inside = threading.Event(), threading.Event()
    patient = Patience("It", 5.0, 4, 4)

    def fails() -> None:
        raise Away("no connection")

    def tries() -> bool:
        inside.set()
        return release.wait(30)

    with pytest.raises(Unavailable):
        patient.run(fails)
    with ThreadPoolExecutor(1) as pool:
        trying = pool.submit(patient.run, tries)
        assert inside.wait(5)
        with pytest.raises(Unavailable, match="does not answer"):
            patient.run(lambda: None)
        release.set()
        assert trying.result(5) is True
    patient.run(lambda: None)


def test_a_refusal_is_an_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "PAUSE_SECONDS", 60.0)
    patient = Patience("It", 5.0, 4, 4)

    def refuses() -> None:
        raise Unauthorized("no")

    for _ in range(2):
        with pytest.raises(Unauthorized):
            patient.run(refuses)


def test_no_more_callers_wait_than_may() -> None:
    release, inside = threading.Event(), threading.Event()
    patient = Patience("It", 5.0, 4, 1)

    def waits() -> bool:
        inside.set()
        return release.wait(30)

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(patient.run, waits)
        assert inside.wait(5)
        with pytest.raises(Unavailable, match="too many requests wait for It"):
            patient.run(lambda: None)
        release.set()
        assert waiting.result(5)


@contextmanager
def answering(status: int, body: bytes) -> Iterator[str]:
    """The address of something that is no Keystone: it answers all requests so."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("X-Subject-Token", "t")
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


ODD = [
    (200, b"<html>a proxy's page</html>"),
    (200, b"{}"),
    (200, b'{"token": null}'),
    (200, b'{"token": {"catalog": 5}}'),
    (300, b"{}"),
    (401, b'{"error": {"code": 401, "message": "your password is wrong"}}'),
    (500, b""),
]
"""But for a 404, which auth_token takes for a token that is not there, whoever says it."""


@pytest.mark.parametrize(("status", "body"), ODD)
def test_what_is_no_keystone_or_does_not_know_us_is_a_503(status: int, body: bytes) -> None:
    with answering(status, body) as url:
        asked = Asked("a-token", "compute", "GET", "/v2.1/servers")
        middleware = Middleware(Settings(**(GOOD | {"keystone_url": url})))
        with pytest.raises(Unavailable, match="Keystone"):
            middleware.document(asked)


@pytest.mark.parametrize(
    ("status", "body", "outcome"),
    [
        (200, b"<html>", Unavailable),
        (200, b'{"project": {"id": "p"}}', Unavailable),
        (302, b"", Unavailable),
        (500, b"", Unavailable),
        (403, b"{}", Forbidden),
        (401, b"{}", Forbidden),
        (404, b"{}", None),
        (200, b'{"project": {"id": "p", "name": "red", "domain_id": "d"}}', "red"),
    ],
)
def test_a_look_up_finds_hides_or_fails_as_keystone_says(
    status: int, body: bytes, outcome: Any
) -> None:
    with answering(status, body) as url:
        look: Callable[[], Any] = lambda: Lookup(Settings(keystone_url=url)).find(  # noqa: E731
            Project, "p", "t"
        )
        if isinstance(outcome, type):
            with pytest.raises(outcome):
                look()
        else:
            found = look()
            assert (found.name if found else None) == outcome
