"""The novella command's own behaviour: exit codes, errors, credentials, watching."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click import Context, Group
from click.testing import CliRunner, Result

from app import config
from app.cli import main, watching
from app.cli.api import Api, Credentials, credentials
from app.cli.output import print_table
from app.errors import Invalid, NotFound, Unavailable

CLOUDS = """\
clouds:
  novella:
    auth: {auth_url: "http://127.0.0.1:1/identity", username: u, password: p, project_name: j}
  broken:
    auth: {username: u}
"""


@pytest.fixture(autouse=True)
def _fresh_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in ("NOVELLA_CONFIG", "OS_CLOUD", "OS_CLIENT_CONFIG_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NOVELLA_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config.settings.cache_clear()
    yield
    config.settings.cache_clear()


def novella(*args: str) -> Result:
    return CliRunner().invoke(main, args)


def test_help_lists_every_noun():
    result = novella("--help")
    assert result.exit_code == 0
    for noun in ("db", "host", "task", "status", "up", "down"):
        assert f"\n  {noun} " in result.output


def test_each_command_of_a_host_bears_the_name_by_which_it_is_found():
    host = main.get_command(Context(main), "host")
    assert isinstance(host, Group)
    names = host.list_commands(Context(host))
    assert {"list", "enable", "disable", "token", "join", "leave", "run"} <= set(names)
    for name in names:
        command = host.get_command(Context(host), name)
        assert command is not None
        assert command.name == name


@pytest.mark.parametrize("args", [("nothing",), ("task", "show"), ("host", "list", "--no")])
def test_wrong_usage_is_exit_code_2(args):
    assert novella(*args).exit_code == 2


def test_an_error_is_one_line_that_says_what_to_do():
    result = novella("task", "list")
    assert result.exit_code == 1
    assert result.stderr.startswith("Error: no cloud 'novella'")
    assert "OS_CLIENT_CONFIG_FILE" in result.stderr
    assert result.stderr.count("\n") == 1


def test_a_config_file_with_a_wrong_setting_is_named(tmp_path):
    (tmp_path / "novella.toml").write_text("prot = 1\n")
    result = novella("db", "current")
    assert result.exit_code == 1
    assert "unknown settings in NOVELLA_CONFIG: prot" in result.stderr


def test_credentials_by_option_by_environment_and_by_default(tmp_path, monkeypatch):
    (tmp_path / "clouds.yaml").write_text(CLOUDS)
    assert credentials(None).auth["username"] == "u"
    assert credentials("novella").root == "http://127.0.0.1:1"
    monkeypatch.setenv("OS_CLOUD", "other")
    with pytest.raises(Invalid, match="no cloud 'other'"):
        credentials(None)
    with pytest.raises(Invalid, match=r"broken.*auth\.auth_url"):
        credentials("broken")


def test_credentials_do_not_print_the_password():
    assert "hunter2" not in repr(Credentials("http://x/identity", {"password": "hunter2"}))


@pytest.mark.parametrize(
    ("url", "root"),
    [
        ("http://c:8774/identity", "http://c:8774"),
        ("http://c:8774/identity/v3/", "http://c:8774"),
        ("https://c/cloud/identity/v3", "https://c/cloud"),
    ],
)
def test_the_root_follows_from_the_auth_url(url, root):
    assert Credentials(url, {}).root == root


def test_nobody_there_says_where_it_looked(tmp_path):
    (tmp_path / "clouds.yaml").write_text(CLOUDS)
    result = novella("task", "list")
    assert result.exit_code == 1
    assert "http://127.0.0.1:1: no connection; is the cloud up?" in result.stderr


def test_status_is_exit_code_1_when_a_part_is_away(tmp_path, monkeypatch):
    monkeypatch.setenv("NOVELLA_BROKER_URL", "redis://:hunter2@127.0.0.1:1/0")
    monkeypatch.setenv("NOVELLA_PORT", "1")
    result = novella("status", "--json")
    assert result.exit_code == 1
    parts = {row["part"]: row["ok"] for row in json.loads(result.stdout)}
    assert parts == {
        "database": False,
        "broker": False,
        "web": False,
        "hosts": False,
        "work": False,
    }
    assert "hunter2" not in result.output


def test_tables_are_never_cut_off(capsys):
    print_table(("name", "is_ok"), [{"name": "x" * 300, "is_ok": True}, {"name": None}])
    title, first, second = capsys.readouterr().out.splitlines()
    assert title.split() == ["NAME", "IS", "OK"]
    assert first.split() == ["x" * 300, "yes"]
    assert second.split() == ["-", "-"]


class Answer:
    def __init__(self, status: int, body: dict[str, Any] | None = None, etag: str = "") -> None:
        self.status_code = status
        self._body = body
        self.headers = {"ETag": etag} if etag else {}

    def json(self) -> dict[str, Any] | None:
        return self._body


class Script(Api):
    """Answers in turn; an exception in the script is raised."""

    def __init__(self, *answers: Any) -> None:
        self.answers = list(answers)
        self.asked: list[dict[str, Any]] = []

    def get(self, path: str, **kwargs: Any) -> Any:
        self.asked.append(kwargs)
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def document(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "t1", "kind": "create", "server_id": "s1", "state": state, "stage": "x", **more}


@pytest.fixture(autouse=True)
def _no_sleep(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching.time, "sleep", lambda seconds: None)


def test_watching_asks_with_the_etag_and_ends_with_the_task():
    api = Script(
        Answer(200, document("queued"), '"1"'),
        Answer(304),
        Answer(200, document("running"), '"2"'),
        Answer(200, document("succeeded"), '"3"'),
    )
    states = [one["state"] for one in watching.changes(api, "t1", 60)]
    assert states == ["queued", "running", "succeeded"]
    assert api.asked[0]["headers"] == {}
    assert api.asked[1]["headers"] == {"If-None-Match": '"1"'}
    assert api.asked[1]["params"] == {"wait": watching.WAIT_SECONDS}
    assert api.asked[1]["timeout"] > watching.WAIT_SECONDS


def test_watching_lives_through_a_restart_of_web():
    api = Script(Unavailable("away"), Unavailable("away"), Answer(200, document("failed"), '"1"'))
    assert [one["state"] for one in watching.changes(api, "t1", 60)] == ["failed"]


def test_watching_gives_up_in_time(monkeypatch):
    with pytest.raises(TimeoutError, match="did not end within 0 s"):
        list(watching.changes(Script(), "t1", 0))
    monkeypatch.setattr(watching, "PATIENCE_SECONDS", -1.0)
    with pytest.raises(Unavailable):
        list(watching.changes(Script(Unavailable("away")), "t1", 60))


def test_watching_an_unknown_task_says_so():
    with pytest.raises(NotFound):
        list(watching.changes(Script(NotFound("no such task")), "t1", 60))


def watched(monkeypatch: pytest.MonkeyPatch, *answers: Any) -> Result:
    monkeypatch.setattr("app.cli.task.Api", lambda who: Script(*answers))
    monkeypatch.setattr("app.cli.task.credentials", lambda cloud: None)
    return novella("task", "watch", "t1", "--timeout", "5")


def test_watch_exit_codes(monkeypatch):
    done = document("succeeded", steps=[{"name": "build", "host": "n1", "result": "succeeded"}])
    assert watched(monkeypatch, Answer(200, done)).exit_code == 0
    failed = document("failed", fault={"code": "no_valid_host", "message": "0/1 hosts fit"})
    result = watched(monkeypatch, Answer(200, failed))
    assert result.exit_code == 1
    assert "create failed: 0/1 hosts fit" in result.stderr
    monkeypatch.setattr(watching, "changes", raise_timeout)
    assert watched(monkeypatch).exit_code == 3


def raise_timeout(*args: Any) -> Iterator[dict[str, Any]]:
    raise TimeoutError("too long")
    yield {}
