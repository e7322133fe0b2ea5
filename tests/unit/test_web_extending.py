"""Parts of other packages that are wrong stop the start, with the entry point's name."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from app.config import Settings
from app.domain.caller import Caller
from app.domain.states import KINDS
from app.errors import Bug, Invalid
from app.models import Server
from app.web.extending import Action, Asked, Field, Resource
from app.web.extending.parts import STARTED
from app.web.factory import create_app
from tests.unit.test_scheduler_plugins import install

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/extending.md").read_text()
HEAD = """
from app.web.extending import *
RULE = Rule("odd:rule", "rule:project_member_or_admin")
NULL = {"type": "null"}
def action(**more):
    return Action(**{"name": "odd:do", "rule": RULE, "schema": NULL, "perform": print} | more)
def field(**more):
    return Field(**{"name": "odd:see", "rule": RULE, "schema": NULL, "values": print} | more)
class Good(Route):
    policy = {"get": "odd:rule"}
    def get(self): pass
def resource(view, path="/odd", rules=(RULE,)):
    return Resource(routes={path: view}, rules=rules)
"""
ACTION, FIELD, RESOURCE = "server_actions", "server_fields", "resources"
ROUTE = "class It(Good):\n"


@pytest.mark.parametrize(
    ("group", "text", "what"),
    [
        (ACTION, "1 / 0", "cannot be loaded: ZeroDivisionError"),
        (ACTION, "import sos_no_such_module", "cannot be loaded: ModuleNotFoundError"),
        (ACTION, "", "cannot be loaded: AttributeError"),
        (ACTION, "PART = 5", "is no Action"),
        (ACTION, "PART = field()", "is no Action"),
        (FIELD, "PART = action()", "is no Field"),
        (RESOURCE, "PART = Good", "is no Resource"),
        (ACTION, "PART = action(name='os-start')", "calls an action 'os-start'"),
        (ACTION, "PART = action(name='novella:do')", "calls an action 'novella:do'"),
        (ACTION, "PART = action(name=None)", "calls an action None"),
        (FIELD, "PART = field(name='OS-EXT-STS:mine')", "calls a field 'OS-EXT-STS:mine'"),
        (FIELD, "PART = field(name='label')", "calls a field 'label'"),
        (ACTION, "PART = action(rule=None)", "has no Rule"),
        (ACTION, "PART = action(rule=Rule('mine', '@'))", "calls a policy rule 'mine'"),
        (
            ACTION,
            "PART = action(rule=Rule('compute:mine', '@'))",
            "calls a policy rule 'compute:mine'",
        ),
        (
            ACTION,
            "PART = action(rule=Rule('odd:do', 'role:x and'))",
            "is not guarded: rule 'odd:do': its check cannot be understood",
        ),
        (
            FIELD,
            "PART = field(rule=Rule('odd:see', 'rule:nobody'))",
            "is not guarded: rule 'odd:see' refers to 'nobody'",
        ),
        (ACTION, "PART = action(schema={'type': 'nil'})", "has no JSON Schema"),
        (ACTION, "PART = action(schema=None)", "has no JSON Schema"),
        (FIELD, "PART = field(schema={'maxLength': 'x'})", "has no JSON Schema"),
        (ACTION, "PART = action(schema=True)", "has no JSON Schema: True is no object"),
        (ACTION, "PART = action(schema={'$ref': '#/$defs/x'})", "refers to '#/.defs/x'"),
        (
            FIELD,
            "PART = field(schema={'items': {'anyOf': [{'$ref': 'http://localhost/x'}]}})",
            "refers to 'http://localhost/x', which is not in it",
        ),
        (ACTION, "PART = action(perform=5)", "has no function perform"),
        (FIELD, "PART = field(values=None)", "has no function values"),
        (RESOURCE, "PART = resource(Good, path='odd')", "has a path that is none: 'odd'"),
        (RESOURCE, "PART = resource(object)", "has no Route at /odd"),
        (RESOURCE, ROUTE + "    public = True\nPART = resource(It)", "without a token at /odd"),
        (RESOURCE, ROUTE + "    policy = {}\nPART = resource(It)", "no policy rule for GET /odd"),
        (
            RESOURCE,
            ROUTE + "    policy = {'get': INSIDE}\nPART = resource(It)",
            "names no policy rule for GET /odd",
        ),
        (RESOURCE, "PART = resource(Good, rules=())", "the policy rule 'odd:rule', which is none"),
        (
            RESOURCE,
            ROUTE + "    policy = {'get': 'odd:rule', 'post': 'odd:rule'}\n"
            "    def post(self): pass\nPART = resource(It)",
            "has no schema for the body of POST /odd",
        ),
        (
            RESOURCE,
            "PART = resource(Good, path='/servers/<id>')",
            "path that is taken: /servers/<id>",
        ),
    ],
)
def test_a_part_that_is_wrong_stops_the_start_with_its_entry_point(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str, text: str, what: str
) -> None:
    module = f"odd_part_{abs(hash((group, text)))}"
    install(tmp_path, module, HEAD + text, f"[novella.{group}]\nodd = {module}:PART\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Invalid, match=f"'odd' of novella.{group} .*{what}"):
        create_app(Settings(extensions="odd"))


@pytest.mark.parametrize("group", [ACTION, FIELD, RESOURCE])
def test_two_packages_cannot_add_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, group: str
) -> None:
    part = {ACTION: "action()", FIELD: "field()", RESOURCE: "resource(Good)"}[group]
    for name in ("one", "two"):
        module = f"twin_{name}_{group}"
        points = f"[novella.{group}]\n{name} = {module}:PART\n"
        install(tmp_path, module, HEAD + f"PART = {part}", points)
    monkeypatch.syspath_prepend(str(tmp_path))
    create_app(Settings(extensions="one"))
    with pytest.raises(Invalid, match=r"'(one|two)' of .*taken"):
        create_app(Settings(extensions="one, two"))


def test_one_rule_cannot_have_two_checks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = "PART = action(rule=Rule('odd:rule', '@'))"
    points = "[novella.server_{}]\n{} = {}:PART\n"
    install(tmp_path, "rule_a", HEAD + other, points.format("actions", "a", "rule_a"))
    install(tmp_path, "rule_b", HEAD + "PART = field()", points.format("fields", "b", "rule_b"))
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(Invalid, match=r"'b' of .*name that is taken: 'odd:rule'"):
        create_app(Settings(extensions="a b"))


@pytest.mark.parametrize("kind", sorted({*KINDS, "no-such"} - STARTED))
def test_a_workflow_that_needs_more_than_the_server_cannot_be_asked_for(kind: str) -> None:
    asked = Asked(Session(), Caller("u", "p", frozenset(), "r"), Server(id="s"), None)
    with pytest.raises(Bug, match=f"'{kind}'.*it takes delete, hard_reboot, pause"):
        asked.start(kind)


def test_a_workflow_takes_only_the_arguments_that_it_has() -> None:
    asked = Asked(Session(), Caller("u", "p", frozenset(), "r"), Server(id="s"), None)
    for kind, args in (("stop", {"type": "HARD"}), ("reboot", {"type": "x"}), ("delete", {"a": 1})):
        with pytest.raises(Bug, match=f"'{kind}'. takes no {next(iter(args))}="):
            asked.start(kind, **args)


def test_the_page_names_what_can_be_asked_for() -> None:
    (told,) = re.findall(r"`asked.start` asks for (.*?)\. Those", PAGE)
    assert set(re.findall(r"`([a-z_]+)`", told)) == STARTED


def test_the_page_declares_and_writes_what_the_example_does() -> None:
    declared: dict[str, Any] = {}
    for block in re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL):
        declared |= tomllib.loads(block)["project"]["entry-points"]
    example = tomllib.loads((ROOT / "examples/extension/pyproject.toml").read_text())
    assert declared == example["project"]["entry-points"]
    made: dict[str, Any] = {}
    exec("\n".join(re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)), made)
    kinds = {"LABEL": Action, "POWER_CYCLE": Action, "LABELS": Resource, "SHOWN": Field}
    assert {name: type(made[name]) for name in kinds} == kinds
    written: dict[str, Any] = {}
    exec((ROOT / "examples/extension/acme_labels.py").read_text(), written)
    for name in ("LABEL", "POWER_CYCLE", "SHOWN"):
        for what in ("name", "rule", "schema"):
            assert getattr(made[name], what) == getattr(written[name], what)
