"""Every route is guarded by a rule that exists."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from oslo_policy import policy as oslo_policy

from app.config import Settings
from app.web import policy
from app.web.compute.actions import ACTIONS
from app.web.factory import create_app
from app.web.filters import SERVICES


def guarded() -> Iterator[tuple[str, str, str | None]]:
    """(path, method, rule) of every method that needs a token."""
    app = create_app(Settings())
    for rule in app.url_map.iter_rules():
        view = getattr(app.view_functions[rule.endpoint], "view_class", None)
        if view is None or rule.rule.split("/")[1] not in SERVICES or view.public:
            continue
        for method in view.methods - set(view.public_methods):
            yield rule.rule, method, view.policy.get(method.lower())


def test_every_method_of_every_route_names_a_registered_rule() -> None:
    known = {*policy.RULES, policy.INSIDE}
    found = list(guarded())
    assert len(found) > 20
    assert [one for one in found if one[2] not in known] == []


def test_every_server_action_names_a_registered_rule() -> None:
    assert {rule for rule, _, _ in ACTIONS.values()} <= set(policy.RULES)


def test_the_rules_parse_and_refer_only_to_each_other() -> None:
    assert policy.make_enforcer().check_rules(raise_on_violation=True)


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
    enforcer = policy.make_enforcer()
    roles = ["admin", "member", "reader"] if role == "admin" else [role]
    roles = ["member", "reader"] if role == "member" else roles
    about = {"project_id": "p", "user_id": "u"}
    assert enforcer.enforce(rule, about, {**about, "roles": roles}) is allowed
    elsewhere = {"project_id": "other", "user_id": "u"}
    assert enforcer.enforce(rule, elsewhere, {**about, "roles": roles}) is (role == "admin")


def test_an_unknown_rule_fails_closed() -> None:
    enforcer = policy.make_enforcer()
    assert not enforcer.enforce("no such rule", {}, {"roles": ["admin"]})
    assert isinstance(enforcer, oslo_policy.Enforcer)
