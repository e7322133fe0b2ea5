"""Every route is guarded by a rule that exists."""

from __future__ import annotations

from pathlib import Path

import pytest
from oslo_policy import policy as oslo_policy

from app.config import Settings
from app.domain.caller import Caller
from app.web import policy
from app.web.compute.actions import ACTIONS
from app.web.factory import create_app
from app.web.policy import routes
from app.web.policy.judge import LONGEST, REMEMBERED, Judge, enforcer


def test_every_method_of_every_route_names_a_registered_rule() -> None:
    known = {*policy.RULES, policy.INSIDE}
    found = list(routes.guards(create_app(Settings())))
    assert len(found) > 200
    assert [one for one in found if one.rule not in known] == []
    assert [one for one in found if one.rule == policy.INSIDE and not one.asks] == []


def test_every_rule_is_asked_somewhere_and_what_is_asked_is_a_rule() -> None:
    asked = set(routes.by_rule(create_app(Settings())))
    assert asked == set(policy.RULES) - set(policy.base.RULES)


def test_every_server_action_names_a_registered_rule() -> None:
    assert {rule for rule, _, _ in ACTIONS.values()} <= set(policy.RULES)


def test_the_rules_parse_and_refer_only_to_each_other() -> None:
    assert enforcer(policy.RULES).check_rules(raise_on_violation=True)


@pytest.mark.parametrize(
    ("role", "rule", "allowed"),
    [
        ("reader", "os_compute_api:servers:index", True),
        ("reader", "os_compute_api:servers:create", False),
        ("member", "os_compute_api:servers:create", True),
        ("member", "os_compute_api:os-services:list", False),
        ("admin", "os_compute_api:os-services:list", True),
        ("service", "os_compute_api:servers:index", False),
    ],
)
def test_nova_s_defaults_hold(role: str, rule: str, allowed: bool) -> None:
    judged = enforcer(policy.RULES)
    roles = ["admin", "member", "reader"] if role == "admin" else [role]
    roles = ["member", "reader"] if role == "member" else roles
    about = {"project_id": "p", "user_id": "u"}
    assert judged.enforce(rule, about, {**about, "roles": roles}) is allowed
    elsewhere = {"project_id": "other", "user_id": "u"}
    assert judged.enforce(rule, elsewhere, {**about, "roles": roles}) is (role == "admin")


def test_an_unknown_rule_fails_closed() -> None:
    judged = enforcer(policy.RULES)
    assert not judged.enforce("no such rule", {}, {"roles": ["admin"]})
    assert isinstance(judged, oslo_policy.Enforcer)


def test_a_verdict_that_is_remembered_is_that_of_the_rules_in_force(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text('"a": "project_id:%(project_id)s"\n')
    judge = Judge({"a": "!", "b": "is_admin:True"}, path)
    mine, other = {"project_id": "p"}, {"project_id": "q"}
    for _ in range(2):
        assert judge.allows("a", mine, mine)
        assert not judge.allows("a", other, mine)
        assert not judge.allows("a", mine, other)
        assert judge.allows("b", mine, {"is_admin": True})
        assert not judge.allows("b", mine, {"is_admin": 1}), "another text"
        assert judge.allows("a", {**mine, "made": {"no": "hash"}}, mine)
    path.write_text('"a": "project_id:%(project_id)s and role:x"\n')
    judge.refresh()
    assert not judge.allows("a", mine, {**mine, "roles": []})
    assert judge.allows("a", mine, {**mine, "roles": ["x"]})
    assert not judge.allows("a", mine, {**mine, "roles": ["y"]})


def test_no_more_verdicts_are_remembered_than_fit(tmp_path: Path) -> None:
    judge = Judge({"a": "user_id:%(user_id)s"}, tmp_path / "none.yaml")
    for number in range(REMEMBERED + 10):
        assert not judge.allows("a", {"user_id": f"other-{number}"}, {"user_id": "me"})
    assert len(judge._rules._told) == 10
    assert judge.allows("a", {"user_id": "me"}, {"user_id": "me"})


def test_long_questions_are_answered_and_not_remembered(tmp_path: Path) -> None:
    judge = Judge({"a": "user_id:%(user_id)s"}, tmp_path / "none.yaml")
    long = "x" * LONGEST
    for number in range(10):
        assert not judge.allows("a", {"user_id": f"{number}-{long}"}, {"user_id": "me"})
        assert judge.allows("a", {"user_id": long}, {"user_id": long})
    assert len(judge._rules._told) == 0


def test_what_members_ask_about_themselves_is_short_enough_to_be_remembered() -> None:
    caller = Caller("u" * 36, "p" * 36, frozenset({"admin", "member", "reader"}), "req-" + "r" * 36)
    credentials = repr(sorted(policy.credentials(caller).items()))
    assert len(credentials) < LONGEST // 2
