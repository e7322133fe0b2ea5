"""Log lines: fields, ids, and what must never be in them."""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import logs, redaction
from app.config import Settings
from app.errors import Invalid
from app.redaction import MASK, is_secret, redact, redact_text


class Lines:
    """What was logged since `start` as parsed JSON lines."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    def start(self) -> None:
        # Inside the test, because pytest hangs its own handlers on the root before each phase.
        logs.configure(Settings(), "test", self.stream)

    def __call__(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]


@pytest.fixture
def lines() -> Iterator[Lines]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level, sys.excepthook, threading.excepthook)
    logs.clear()
    yield Lines()
    logs.clear()
    logging.captureWarnings(False)
    root.handlers[:], root.level, sys.excepthook, threading.excepthook = before


def test_a_line_of_ours_has_its_fields_and_the_bound_ids(lines):
    lines.start()
    with logs.bound(request_id="req-1"):
        logs.bind(server_id="s1")
        logs.get("app.test").info("built", host="n1")
    logs.get("app.test").info("after")
    first, second = lines()
    assert first["event"] == "built"
    assert (first["host"], first["request_id"], first["server_id"]) == ("n1", "req-1", "s1")
    assert (first["role"], first["level"], first["logger"]) == ("test", "info", "app.test")
    assert "timestamp" in first
    assert "request_id" not in second


def test_a_library_line_bears_the_ids_too(lines):
    lines.start()
    with logs.bound(task_id="t1"):
        logging.getLogger("sqlalchemy.pool").warning("lost %s", "it")
    (line,) = lines()
    assert (line["event"], line["task_id"], line["role"]) == ("lost it", "t1", "test")


def test_ids_stay_in_their_thread(lines):
    lines.start()
    logs.bind(task_id="mine")
    thread = threading.Thread(target=lambda: logs.get("x").info("other"))
    thread.start()
    thread.join(5)
    assert "task_id" not in lines()[0]


def test_tracebacks_are_masked_and_uncaught_errors_logged(lines):
    lines.start()
    try:
        raise ValueError("redis://:hunter2@127.0.0.1:6379/0 refused")
    except ValueError:
        logging.getLogger("lib").exception("no broker")
    (line,) = lines()
    assert "hunter2" not in json.dumps(line)
    assert "ValueError" in str(line["exception"])


def test_a_value_that_cannot_be_printed_costs_only_its_line(lines):
    lines.start()

    class Rude:
        def __str__(self) -> str:
            raise RuntimeError("no")

        __repr__ = __str__

    logs.get("x").info("hello", thing=Rude())
    assert lines()[0]["event"] == "a log line could not be masked"


@pytest.mark.parametrize(
    "change", [Settings(log_level="LOUD"), Settings(log_format="xml")], ids=["level", "format"]
)
def test_a_wrong_setting_is_named(change):
    with pytest.raises(Invalid, match="setting log_"):
        logs.configure(change, "test")


@pytest.mark.parametrize(
    "key",
    [
        "password",
        "adminPass",
        "X-Auth-Token",
        "x_subject_token",
        "user_data",
        "OS-EXT:user_data",
        "Authorization",
        "client_secret",
        "password_hash",
        "Set-Cookie",
        "private_key",
    ],
)
def test_secret_keys(key):
    assert is_secret(key)
    assert redact({"a": [{key: "hunter2"}]}) == {"a": [{key: MASK}]}


@pytest.mark.parametrize(
    "text",
    [
        "redis://:hunter2@127.0.0.1:6379/0",
        "postgresql+psycopg://nova:hunter2@db/nova",
        "Authorization: Bearer hunter2hunter2",
        "got gAAAAABhunter2_hunter2-xx== back",
        'body {"adminPass": "hunter2 and more", "name": "n"}',
        "{'user_data': 'hunter2', 'x': 1}",
        "curl -H X-Auth-Token:hunter2",
        "/login?password=hunter2&x=1",
        "token eyJhunter2hunter2.Zx12hunter2.hunter2hunter2",
    ],
)
def test_secrets_in_text(text):
    assert "hunter2" not in redact_text(text)


@pytest.mark.parametrize(
    "value",
    [
        "GET /compute/v2.1/servers?limit=3 200",
        "http://127.0.0.1:8774/identity",
        {"token_seconds": 3600, "has_password": True, "password": None},
        {"task_id": "0c6a2b1e-6d4e-4b0e-9a9c-000000000000", "host": "n1"},
    ],
)
def test_what_is_no_secret_stays(value):
    assert redact(value) == value


_PARTS = st.sampled_from(
    ["Password", "paſſwd", "toKen", "SECRET", "user-data", "cookıe", "cookİe", "api_key", "aPI-Key"]
    + ["adminPass", "bearer ", "Basıc ", "bearer\t", "gAAAA", ".eJ", "eyJ", "://", "a", "@", ":"]
    + ["=", '"', "'", " ", "hunter2hunter2", "x.yyyyyyyy", "00:11:22:33:44:55"]
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(_PARTS, max_size=9).map("".join))
def test_no_text_that_a_pattern_matches_is_taken_for_harmless(text: str) -> None:
    slow = text
    for pattern, replacement in redaction._PATTERNS:
        slow = pattern.sub(replacement, slow)
    assert redact_text(text) == slow
    assert redaction._may_match(text) or slow == text
