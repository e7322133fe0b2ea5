"""The small parts of web, without an application."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from werkzeug.datastructures import Headers

from app.config import Settings
from app.errors import Invalid
from app.images import access
from app.web import microversions, times
from app.web.body import BOOLEAN, METADATA, NAME, UUID, Schema, integer, is_true, only
from app.web.compute import schemas, sshkeys
from app.web.factory import create_app
from app.web.identity.tokens import Revocations, Revoked, Token, Tokens
from app.web.v1 import views
from app.web.v1.watcher import Sight, Watcher


def headers(**given: str) -> Headers:
    """Headers; underscores stand for dashes."""
    return Headers({name.replace("_", "-"): value for name, value in given.items()})


@pytest.mark.parametrize(
    ("given", "version"),
    [
        ({}, (2, 1)),
        ({"OpenStack_API_Version": "compute 2.7"}, (2, 7)),
        ({"OpenStack_API_Version": "COMPUTE 2.7"}, (2, 7)),
        ({"OpenStack_API_Version": "identity 3.1,compute 2.7"}, (2, 7)),
        ({"OpenStack_API_Version": "compute latest"}, microversions.MAX),
        ({"X_OpenStack_Nova_API_Version": "latest"}, microversions.MAX),
    ],
)
def test_a_microversion_is_read(given: dict[str, str], version: tuple[int, int]) -> None:
    assert microversions.asked_for(headers(**given)) == version


def problem(schema: Any, data: Any) -> str:
    """What the refusal of `data` says."""
    with pytest.raises(Invalid) as raised:
        Schema("s", schema).check(data)
    return raised.value.message


def test_refusals_name_field_problem_and_limit_but_never_the_value() -> None:
    schema = only({"server": only({"name": NAME}, {"count": integer(1, 9), "meta": METADATA})})
    assert problem(schema, {"server": {}}) == "Invalid input for field server: missing: name"
    told = problem(schema, {"server": {"name": "n" * 300}})
    assert told == "Invalid input for field server.name: is longer than 255 characters"
    told = problem(schema, {"server": {"name": "n", "count": 10}})
    assert told == "Invalid input for field server.count: must be a whole number from 1 to 9"
    told = problem(schema, {"server": {"name": "n", "secret-name": "secret-value"}})
    assert "unknown: secret-name" in told
    assert "secret-value" not in told
    told = problem(schema, {"server": {"name": ["secret-value"]}})
    assert told == "Invalid input for field server.name: must be of type string"
    assert problem(schema, []) == "Invalid input for field the body: must be of type object"


@pytest.mark.parametrize("text", ["True", "1", "on", "YES", True])
def test_what_counts_as_true(text: Any) -> None:
    Schema("b", BOOLEAN).check(text)
    assert is_true(text)


@pytest.mark.parametrize("text", ["False", "0", "off", "NO", False])
def test_what_counts_as_false(text: Any) -> None:
    Schema("b", BOOLEAN).check(text)
    assert not is_true(text)


def test_uuids_come_with_or_without_dashes() -> None:
    Schema("u", UUID).check("0d6293cb-57bd-451f-be78-6d07d3bef105")
    Schema("u", UUID).check("0d6293cb57bd451fbe786d07d3bef105")
    assert problem(UUID, "0d6293cb")


def test_a_create_knows_description_from_2_19() -> None:
    server = {"server": {"name": "n", "flavorRef": "1", "description": "d"}}
    schemas.server((2, 19)).check(server)
    with pytest.raises(Invalid, match="description"):
        schemas.server((2, 18)).check(server)


def test_times_go_out_and_come_in() -> None:
    assert times.seconds(0.5) == "1970-01-01T00:00:00Z"
    assert times.micros(0.5) == "1970-01-01T00:00:00.500000"
    assert times.micros_z(1e9) == "2001-09-09T01:46:40.000000Z"
    assert times.seconds(None) is None
    for text in ("1970-01-01T00:01:00Z", "1970-01-01T00:01:00", "1970-01-01T01:01:00+01:00"):
        assert times.parse(text, "t") == 60
    assert times.parse("1970-01-01T01:01:00 01:00", "t") == 60  # a "+" that a query swallowed
    with pytest.raises(Invalid, match="changes-since"):
        times.parse("tomorrow", "changes-since")


@settings(deadline=None)
@given(st.floats(-1e9, 1e11))
@example(0.9999996)
@example(59.9999999)
@example(-0.0000004)
def test_times_are_written_as_datetime_writes_them(at: float) -> None:
    exactly = datetime.fromtimestamp(at, UTC)
    assert times.seconds(at) == exactly.isoformat(timespec="seconds")[:19] + "Z"
    assert times.micros(at) == exactly.isoformat(timespec="microseconds")[:26]


def test_a_made_key_is_one_that_we_take() -> None:
    private, public = sshkeys.generate("me")
    assert private.startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert len(sshkeys.fingerprint(public)) == 47
    with pytest.raises(Invalid):
        sshkeys.fingerprint(public.replace("ssh-rsa ", "ssh-dss "))
    with pytest.raises(Invalid):
        sshkeys.fingerprint(public + "\nssh-rsa AAAA another line")


def test_image_tokens_are_for_one_image_and_end() -> None:
    token = access.make_token(["k2", "k1"], "i", "a", 60)
    assert access.check_token(["k2", "k1"], token, "i")
    assert access.check_token(["k3", "k2"], token, "i")
    assert not access.check_token(["k2"], token, "j")
    assert not access.check_token(["k1"], token, "i")
    assert not access.check_token(["k2"], access.make_token(["k2"], "i", "a", -1), "i")
    assert not access.check_token(["k2"], "junk", "i")


class Ring:
    """A key ring that holds what it is told."""

    def __init__(self, *keys: str) -> None:
        self.held = list(keys)

    def current(self) -> list[str]:
        return self.held


def token(issued_at: float, **more: Any) -> Token:
    """A token that lives a minute."""
    given: dict[str, Any] = {
        "id": "t",
        "user_id": "u",
        "user_name": "n",
        "user_domain": ("default", "Default"),
        "project_id": "p",
        "project_name": "pn",
        "project_domain": ("default", "Default"),
        "roles": (("1", "member"),),
        "methods": ("password",),
        "issued_at": issued_at,
        "expires_at": time.time() + 60,
        "seen": (99.0, 99.0, 99.0),
    }
    return Token(**given | more)


def test_a_token_is_what_was_issued() -> None:
    tokens = Tokens(Ring("k"), Revocations(list))  # type: ignore[arg-type]
    held = token(time.time())
    assert tokens.read(tokens.issue(held)) == held
    assert held.caller("req").roles == {"member"}


@pytest.mark.parametrize(
    ("revoked", "good"),
    [
        (Revoked("token", "t", 0.0), False),
        (Revoked("token", "other", 0.0), True),
        (Revoked("user", "u", 100.0), False),
        (Revoked("user", "u", 99.0), True),
        (Revoked("project", "p", 100.0), False),
        (Revoked("project", "other", 100.0), True),
    ],
)
def test_a_revocation_covers_a_token_or_all_whose_makers_had_not_seen_it(
    revoked: Revoked, good: bool
) -> None:
    tokens = Tokens(Ring("k"), Revocations(lambda: [revoked]))  # type: ignore[arg-type]
    text = tokens.issue(token(100.0))
    assert (tokens.look(text) is not None) is good


def test_an_etag_changes_with_whatever_is_shown() -> None:
    tags = {
        views.etag(1, 2, None),
        views.etag(2, 2, None),
        views.etag(1, 3, None),
        views.etag(1, 2, "downloading"),
    }
    assert len(tags) == 4
    assert views.standing(10, "a", (20, "b")) == (20, "b")
    assert views.standing(10, "a", (5, "")) == (10, "a")
    assert views.standing(10, "a", None) == (10, "a")


class Board:
    """Tasks as a watcher finds them; counts how often and for what it is looked at."""

    def __init__(self) -> None:
        self.sights: dict[str, Sight] = {}
        self.asked: list[list[str]] = []
        self.broken = False

    def look(self, ids: Sequence[str]) -> dict[str, Sight]:
        self.asked.append(list(ids))
        if self.broken:
            raise RuntimeError("away")
        return {one: self.sights[one] for one in ids if one in self.sights}


def test_a_watcher_asks_once_for_all_and_stops_when_nobody_waits() -> None:
    board = Board()
    board.sights = {"a": Sight("1", False), "b": Sight("1", False)}
    watcher, ended = Watcher(board.look, 10), []

    def wait(task: str) -> None:
        with watcher.interest(task):
            ended.append(watcher.change(task, "1", time.monotonic() + 5))

    threads = [threading.Thread(target=wait, args=(one,)) for one in "aabb"]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    board.sights["a"] = Sight("2", False)
    board.sights["b"] = Sight("1", True)
    for thread in threads:
        thread.join(3)
    assert ended == [True] * 4
    assert board.asked[-1] == ["a", "b"]
    time.sleep(0.5)
    looked = len(board.asked)
    time.sleep(0.5)
    assert len(board.asked) == looked


def test_a_watcher_outlives_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.v1.watcher.ERROR_SECONDS", 0.1)
    board = Board()
    board.broken, board.sights = True, {"a": Sight("2", False)}
    watcher = Watcher(board.look, 10)
    with watcher.interest("a") as granted:
        assert granted
        assert not watcher.change("a", "1", time.monotonic() + 0.4)
        board.broken = False
        assert watcher.change("a", "1", time.monotonic() + 2)


def test_a_watcher_has_room_for_so_many() -> None:
    watcher = Watcher(Board().look, 1)
    with watcher.interest("a") as first, watcher.interest("b") as second:
        assert (first, second) == (True, False)
    with watcher.interest("b") as again:
        assert again


def test_every_route_is_on_the_page_about_http(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "http.md").read_text()
    app = create_app(Settings(state_dir=tmp_path))
    for rule in app.url_map.iter_rules():
        route = re.sub(r"<(\w+)>", r"{\1}", rule.rule)
        short = re.sub(r"^/(identity|image|network|compute(/v2\.1)?)(?=/)", "", route) or route
        if "swaggerui" not in route and route != "/":
            assert f"`{short}`" in page or f"`{short}` (" in page or f"`{route}`" in page, route
