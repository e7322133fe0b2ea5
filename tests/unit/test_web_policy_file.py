"""policy.yaml: what is refused, with whose name, and how a change is taken up."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from app.config import Settings
from app.errors import Invalid
from app.web import policy
from app.web.factory import create_app
from app.web.policy import overrides, routes, targets
from app.web.policy.judge import Judge, enforcer

INDEX = "os_compute_api:servers:index"
READER = {"roles": ["reader"], "project_id": "p", "user_id": "u"}
ABOUT = {"project_id": "p", "user_id": "u"}


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ('"os_compute_api:server:index": "@"', f"'os_compute_api:server:index'.*mean '{INDEX}'"),
        ('"helpers": "role:x"', "there is no rule 'helpers'"),
        (f'"{INDEX}": "role:x and or"', f"rule '{INDEX}': its check cannot be understood"),
        (f'"{INDEX}": "(role:x"', f"rule '{INDEX}': its check cannot be understood"),
        (f'"{INDEX}": "admin"', f"rule '{INDEX}': its check cannot be understood"),
        (f'"{INDEX}": "! or admin"', f"rule '{INDEX}': its check cannot be understood"),
        (f'"{INDEX}": "rol:x"', f"rule '{INDEX}': rol:x compares 'rol'"),
        (f'"{INDEX}": "http://there/"', f"rule '{INDEX}': http://there/ compares 'http'"),
        (f'"{INDEX}": "not user_id:%(owner)s"', f"rule '{INDEX}': .* is about 'owner'"),
        (f'"{INDEX}": "rule:nobody"', f"rule '{INDEX}' refers to 'nobody'"),
        (f'"{INDEX}": "rule:a"\n"a": "rule:b"\n"b": "not rule:a"', "'a' refers to itself.*'b'"),
        ('"admin_api": "rule:admin_api"', "'admin_api' refers to itself"),
        (f'"{INDEX}": ["role:x"]', f"rule '{INDEX}': its check must be a text"),
        (f'"{INDEX}": "@"\n"{INDEX}": "!"', f"'{INDEX}' is there twice"),
        ("- a list", "must be a mapping"),
        ('"a: b', "is no YAML"),
        ("{[]: a}", "is no YAML|must be a text"),
        (f'"{INDEX}": "project_id:%project_id"', f"rule '{INDEX}': .* has a % that is neither"),
        (f'"{INDEX}": "role:100%"', f"rule '{INDEX}': role:100% has a % that is neither"),
        (f'"{INDEX}": "project_id:%(project_id)d"', f"rule '{INDEX}': .* has a %"),
        (f'"{INDEX}": "project_id:%(project_id)s%"', f"rule '{INDEX}': .* has a %"),
        (f'"{INDEX}": "project_id:%s"', f"rule '{INDEX}': .* has a %"),
        (f'"{INDEX}": "{{{{}}}}:x"', f"rule '{INDEX}': .* no literal"),
        (f'"{INDEX}": "{"not " * 3000}role:x"', f"rule '{INDEX}': its check is nested too deep"),
        (f'"{INDEX}": 2026-13-45', "holds a value that is none of its kind: month"),
        (f'"{INDEX}": !!timestamp x', "holds a value that is none of its kind"),
        ("[" * 5000, "is nested too deep"),
    ],
)
def test_a_file_that_is_wrong_is_refused_with_the_rules_name(text: str, what: str) -> None:
    with pytest.raises(Invalid, match=what):
        overrides.parsed(text, policy.RULES)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "# nothing\n",
        "{}",
        f'"{INDEX}": ""',
        f'"{INDEX}": "!"',
        f'"{INDEX}": "rule:ours and not role:guest"\n"ours": "role:operator or is_admin:True"',
        f'"{INDEX}": "role:reader and \'p\':%(project_id)s"',
        f'"{INDEX}": "role:100%%"',
        f'"{INDEX}": "{"not " * 20}role:x"',
        '"context_is_admin": "role:admin or role:cloud_admin"',
    ],
)
def test_what_oslo_policy_understands_is_taken(text: str) -> None:
    changed = overrides.parsed(text, policy.RULES)
    assert set(changed) <= {INDEX, "ours", "context_is_admin"}
    asked = enforcer({**policy.RULES, **changed})
    assert asked.enforce(INDEX, dict(ABOUT), dict(READER)) in (True, False)  # and does not raise


def test_the_settings_name_the_file_and_a_missing_one_stops_the_start(tmp_path: Path) -> None:
    missing = Settings(state_dir=tmp_path, policy_file=tmp_path / "mine.yaml")
    with pytest.raises(Invalid, match=r"mine.yaml: No such file"):
        create_app(missing)
    (tmp_path / "mine.yaml").write_text('"admin": "@"')
    with pytest.raises(Invalid, match=r"mine.yaml: there is no rule 'admin'"):
        create_app(missing)
    (tmp_path / "mine.yaml").write_bytes(b"\xff")
    with pytest.raises(Invalid, match=r"mine.yaml"):
        create_app(missing)
    create_app(Settings(state_dir=tmp_path))  # none in the state directory: the defaults


def test_a_change_is_taken_up_and_a_wrong_one_keeps_what_was(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    judge = Judge(policy.RULES, path)
    assert judge.allows(INDEX, ABOUT, READER)
    path.write_text(f'"{INDEX}": "!"')
    judge.refresh()
    assert not judge.allows(INDEX, ABOUT, READER)
    for wrong in ('"servers": "@"', f'"{INDEX}": "((("', "no: [yaml"):
        path.write_text(wrong)
        judge.refresh()
        assert not judge.allows(INDEX, ABOUT, READER)
    path.write_text(f'"{INDEX}": "role:reader"')
    judge.refresh()
    assert judge.allows(INDEX, ABOUT, READER)


def test_a_file_that_has_gone_keeps_what_was_and_an_empty_one_is_the_defaults(
    tmp_path: Path,
) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(f'"{INDEX}": "!"')
    judge = Judge(policy.RULES, path)
    path.unlink()
    judge.refresh()
    assert not judge.allows(INDEX, ABOUT, READER)
    (tmp_path / "new").write_text("")
    os.replace(tmp_path / "new", path)
    judge.refresh()
    assert judge.allows(INDEX, ABOUT, READER)
    assert judge.overridden == {}


@pytest.mark.parametrize(
    ("text", "rule", "target"),
    [
        (f'"{INDEX}": "user_id:%(user_id)s"', INDEX, "user_id"),
        (f'"{INDEX}": "rule:ours"\n"ours": "user_id:%(user_id)s"', INDEX, "user_id"),
        ('"delete_network": "user_id:%(user_id)s"', "delete_network", "user_id"),
        ('"delete_image": "not user_id:%(target.user.id)s"', "delete_image", "target.user.id"),
        ('"identity:list_users": "rule:admin_or_owner"', "identity:list_users", "project_id"),
        ('"update_port": "rule:network_owner"', "update_port", "network:project_id"),
    ],
)
def test_a_rule_is_about_nothing_that_its_requests_do_not_tell(
    text: str, rule: str, target: str
) -> None:
    with pytest.raises(Invalid, match=rf"rule '{rule}'.* is about '{target}', which the requests"):
        overrides.parsed(text, policy.RULES)


def test_the_defaults_are_about_what_their_requests_tell() -> None:
    text = "\n".join(f'"{rule}": "{check}"' for rule, check in policy.RULES.items())
    assert overrides.parsed(text, policy.RULES) == policy.RULES


def test_rules_about_a_user_are_those_whose_paths_name_what_has_one() -> None:
    named = ("server_id", "task_id", "/os-server-groups/{", "/os-keypairs")
    for rule, places in routes.by_rule(create_app(Settings())).items():
        if "user_id" in targets.given(rule):
            assert all(any(word in place for word in named) for place in places), rule
