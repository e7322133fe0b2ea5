"""`novella policy`: every rule with its routes, and what a role may do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app import config
from app.cli import main
from app.web import policy

CREATE = "os_compute_api:servers:create"
MIGRATE = "os_compute_api:os-migrate-server:migrate"


@pytest.fixture(autouse=True)
def _fresh_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.delenv("NOVELLA_CONFIG", raising=False)
    monkeypatch.setenv("NOVELLA_STATE_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    config.settings.cache_clear()
    yield
    config.settings.cache_clear()


def novella(*args: str) -> Result:
    return CliRunner().invoke(main, ["policy", *args])


def listed() -> dict[str, dict[str, Any]]:
    result = novella("list", "--json")
    assert result.exit_code == 0
    return {row["rule"]: row for row in json.loads(result.stdout)}


def test_list_has_every_rule_with_its_default_and_its_routes() -> None:
    rows = listed()
    assert {rule: row["default"] for rule, row in rows.items()} == policy.RULES
    assert rows[CREATE]["routes"] == ["POST /compute/v2.1/servers"]
    assert rows[MIGRATE]["routes"] == ["POST /compute/v2.1/servers/{server_id}/action (migrate)"]
    hosts = rows["os_compute_api:servers:show:host_status"]["routes"]
    assert "GET /compute/v2.1/servers/detail" in hosts
    assert "POST /compute/v2.1/servers/{server_id}/action (rebuild)" in hosts
    unasked = {rule for rule, row in rows.items() if not row["routes"]}
    assert unasked == set(policy.base.RULES)
    for_people = novella("list").stdout
    assert f"{CREATE}\n    default  rule:project_member_or_admin\n" in for_people


def test_list_tells_what_policy_yaml_changes(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(f'"{CREATE}": "rule:makers"\n"makers": "role:maker"')
    rows = listed()
    assert rows[CREATE]["check"] == "rule:makers"
    assert rows[CREATE]["default"] == "rule:project_member_or_admin"
    assert [rule for rule, row in rows.items() if row["overridden"]] == ["makers", CREATE]
    assert rows["makers"]["default"] is None
    assert "    now      rule:makers\n" in novella("list").stdout
    assert novella("check", "--rule", CREATE, "--roles", "maker").exit_code == 0


def test_list_says_what_is_wrong_with_a_policy_file(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(f'"{CREATE}d": "@"')
    result = novella("list")
    assert result.exit_code == 1
    assert f"there is no rule '{CREATE}d'" in result.stderr
    assert f"did you mean '{CREATE}'?" in result.stderr


@pytest.mark.parametrize(
    ("given", "allowed"),
    [
        (["--rule", CREATE, "--roles", "reader"], False),
        (["--rule", CREATE, "--roles", "member"], True),
        (["--rule", CREATE, "--roles", "member", "--target-project", "another"], False),
        (["--rule", CREATE, "--roles", "admin", "--target-project", "another"], True),
        (["--rule", CREATE, "--roles", ""], False),
        (["--rule", MIGRATE, "--roles", "member"], False),
        (["--rule", MIGRATE, "--roles", "reader, manager"], True),
        (["--rule", "identity:list_users", "--roles", "reader"], False),
        (["--rule", "identity:list_users", "--roles", "reader", "--system"], True),
        (["--rule", "identity:get_user", "--roles", "member"], True),
        (["--rule", "identity:get_user", "--roles", "member", "--target-user", "she"], False),
        (["--rule", CREATE, "--rule", MIGRATE, "--roles", "member"], False),
    ],
)
def test_check_says_what_a_role_may_and_exits_so(given: list[str], allowed: bool) -> None:
    result = novella("check", *given)
    assert result.exit_code == (0 if allowed else 1)
    assert ("refused" in result.stdout) is not allowed


def test_check_of_all_rules_agrees_with_the_checks_of_each() -> None:
    result = novella("check", "--all", "--roles", "manager", "--json")
    assert result.exit_code == 0
    verdicts = json.loads(result.stdout)
    assert set(verdicts) == set(policy.RULES)
    assert verdicts[CREATE]
    assert verdicts[MIGRATE]
    assert not verdicts["os_compute_api:os-services:list"]


def test_check_refuses_unknown_rules_and_no_rules() -> None:
    unknown = novella("check", "--rule", "servers:create", "--roles", "admin")
    assert unknown.exit_code == 1
    assert "there is no rule servers:create" in unknown.stderr
    assert novella("check", "--roles", "admin").exit_code == 2
    assert novella("check", "--all", "--rule", CREATE).exit_code == 2
