"""What other packages add: the worked example, installed as a package is, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, insert
from sqlalchemy.exc import ArgumentError, OperationalError

from app.config import Settings
from app.domain.states import KINDS
from app.errors import Invalid
from app.models import Server, ServerTag
from app.store import database
from app.web.extending import Asked
from app.web.extending.parts import STARTED
from app.web.factory import create_app
from app.web.openapi.document import document
from app.web.policy import routes
from tests.asking import forget_process_state
from tests.integration.web_fixtures import (
    Site,
    adopt_settings,
    hold_to_declared,
    seeded_database,
)

__all__ = ["seeded_database"]
ROOT = Path(__file__).resolve().parents[2]
SERVERS = "/compute/v2.1/servers"
NAMES = "acme-label, acme-power-cycle, acme-labels"
LABEL = {"acme:label": {"label": "blue"}}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip has installed the example."""
    folder = tmp_path_factory.mktemp("installed")
    source = folder / "source"
    shutil.copytree(ROOT / "examples/extension", source)
    offline = ["--no-index", "--no-deps", "--no-build-isolation", "--quiet"]
    argv = [sys.executable, "-m", "pip", "install", *offline, "--target", str(folder / "site")]
    subprocess.run([*argv, str(source)], check=True, timeout=120, capture_output=True)
    return folder / "site"


@pytest.fixture
def site(
    tmp_path: Path, seeded_database: Path, installed: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """An application with the example turned on."""
    monkeypatch.syspath_prepend(str(installed))
    shutil.copy(seeded_database, tmp_path / "novella.sqlite")
    made = Site(create_app(adopt_settings(monkeypatch, tmp_path, extensions=NAMES)), tmp_path)
    hold_to_declared(made.app)
    made.add_user("other")
    made.add_user("manager", "manager")
    made.add_user("reader", "reader")
    yield made
    database.engine().dispose()
    forget_process_state()


def act(site: Site, server_id: str, body: Any, user: str = "novella", **more: Any) -> Any:
    return site.post(f"{SERVERS}/{server_id}/action", user, json=body, **more)


def test_an_action_changes_the_server_and_a_field_shows_it_at_every_microversion(
    site: Site,
) -> None:
    server_id = site.built()
    assert site.get(f"{SERVERS}/{server_id}").json["server"]["acme:label"] is None
    done = act(site, server_id, LABEL)
    assert (done.status_code, done.json) == (200, {"label": "blue"})
    for version in ("2.1", "2.47", "2.104"):
        shown = site.get(f"{SERVERS}/{server_id}", version=version).json["server"]
        assert shown["acme:label"] == "blue"
        listed = site.get(f"{SERVERS}/detail", version=version).json["servers"]
        assert [one["acme:label"] for one in listed] == ["blue"]
        changed = site.call(
            "PUT", f"{SERVERS}/{server_id}", json={"server": {"name": "new"}}, version=version
        )
        assert changed.json["server"]["acme:label"] == "blue"
    assert "acme:label" not in site.get(SERVERS).json["servers"][0]


def test_an_action_asks_for_a_workflow_and_its_task_is_told(site: Site) -> None:
    server_id = site.built("manager")
    body = {"acme:power-cycle": None}
    accepted = act(site, server_id, body, "manager", headers={"Idempotency-Key": "k"})
    assert accepted.status_code == 202
    task = site.get(f"/v1/tasks/{accepted.headers['X-Task-Id']}", "manager").json
    assert (task["kind"], task["server_id"]) == ("hard_reboot", server_id)
    again = act(site, server_id, body, "manager", headers={"Idempotency-Key": "k"})
    assert again.headers["X-Task-Id"] == task["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert act(site, server_id, {"lock": None}, "manager").status_code == 202
    assert act(site, server_id, body, "manager").status_code == 409
    site.set_server(server_id, vm_state="building", task_state="spawning", locked=None)
    assert act(site, server_id, body, "manager").status_code == 409


def test_an_action_is_held_to_its_schema_its_rule_the_project_and_the_lock(site: Site) -> None:
    server_id = site.built()
    wrong = act(site, server_id, {"acme:label": {"label": "x" * 41}})
    assert wrong.status_code == 400
    assert "acme:label.label: is longer than 40" in wrong.text
    refused = act(site, server_id, {"acme:power-cycle": None})
    assert refused.status_code == 403
    assert "acme:servers:power-cycle" in refused.text
    assert act(site, server_id, LABEL, "other").status_code == 404
    assert act(site, server_id, LABEL, "reader").status_code == 403
    assert act(site, server_id, {"lock": None}).status_code == 202
    assert act(site, server_id, LABEL).status_code == 409
    assert act(site, server_id, LABEL, "admin").status_code == 200
    assert act(site, server_id, {"acme:labels": None}).status_code == 400


def test_a_resource_has_its_routes_rules_and_schemas(site: Site) -> None:
    server_id = site.built()
    path = f"{SERVERS}/{server_id}/acme-label"
    assert site.call("PUT", path, json={"label": "red"}).json == {"label": "red"}
    wrong = site.call("PUT", path, json={"label": ""})
    assert wrong.status_code == 400
    assert "label: is shorter than 1" in wrong.text
    assert site.call("PUT", path, "other", json={"label": "red"}).status_code == 404
    assert site.call("PUT", path, "reader", json={"label": "red"}).status_code == 403
    listed = site.get("/compute/v2.1/acme-labels")
    assert listed.json == {"acme_labels": [{"server_id": server_id, "label": "red"}]}
    assert listed.headers["OpenStack-API-Version"] == "compute 2.1"
    assert site.get("/compute/v2.1/acme-labels", "other").json == {"acme_labels": []}
    assert site.get("/compute/v2.1/acme-labels", None).status_code == 401
    assert site.delete(path).status_code == 204
    assert site.get("/compute/v2.1/acme-labels").json == {"acme_labels": []}


def test_the_document_of_the_api_has_what_was_added(site: Site) -> None:
    told = document(site.app)
    schemas = told["components"]["schemas"]
    action = schemas["action.acme.label"]
    assert action["properties"]["acme:label"]["properties"]["label"]["maxLength"] == 40
    assert action["x-answers"] == [200, 202]
    post = told["paths"]["/compute/v2.1/servers/{server_id}/action"]["post"]
    branches = post["requestBody"]["content"]["application/json"]["schema"]["oneOf"]
    assert {"$ref": "#/components/schemas/action.acme.power-cycle"} in branches
    put = told["paths"]["/compute/v2.1/servers/{server_id}/acme-label"]["put"]
    assert put["requestBody"]["content"]["application/json"]["schema"] == {
        "$ref": "#/components/schemas/compute.AcmeLabel"
    }
    swagger = site.client.get("/swagger.json").json
    old = swagger["paths"]["/compute/v2.1/servers/{server_id}/acme-label"]["put"]
    assert {"$ref": "#/definitions/AcmeLabel"} in [one.get("schema") for one in old["parameters"]]


def test_its_rules_are_listed_and_policy_yaml_changes_them(site: Site) -> None:
    server_id = site.built()
    by_rule = routes.by_rule(site.app)
    assert by_rule["acme:servers:show:label"] == [
        "GET /compute/v2.1/servers/{server_id}",
        "PUT /compute/v2.1/servers/{server_id}",
        "GET /compute/v2.1/servers/detail",
    ]
    action = "POST /compute/v2.1/servers/{server_id}/action (acme:label)"
    assert action in by_rule["acme:servers:label"]
    (site.directory / "policy.yaml").write_text(
        '"acme:servers:show:label": "rule:admin_api"\n"acme:servers:power-cycle": "role:member"\n'
    )
    assert "acme:label" not in site.get(f"{SERVERS}/{server_id}").json["server"]
    assert "acme:label" in site.get(f"{SERVERS}/{server_id}", "admin").json["server"]
    assert act(site, server_id, {"acme:power-cycle": None}).status_code == 202


def test_being_installed_turns_nothing_on(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(installed))
    app = create_app(Settings())
    assert not [rule for rule in app.url_map.iter_rules() if "acme" in rule.rule]
    assert not [rule for rule in routes.by_rule(app) if rule.startswith("acme")]


def test_an_extension_that_nobody_declares_stops_the_start(
    installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(installed))
    with pytest.raises(Invalid, match=r"no acme-lables; .* declare acme-label, acme-labels, acme"):
        create_app(Settings(extensions="acme-lables"))


def test_a_field_that_fails_is_left_out_and_takes_no_server_along(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_id = site.built()
    fields = site.app.extensions["novella"].extensions.fields
    whole = fields["acme:label"]
    for values in (lambda *_: 1 / 0, lambda *_: {server_id: "x" * 41}, lambda *_: 5):
        monkeypatch.setitem(fields, "acme:label", replace(whole, values=values))
        shown = site.get(f"{SERVERS}/detail")
        assert shown.status_code == 200
        assert "acme:label" not in shown.json["servers"][0]


def test_an_action_that_fails_changes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    server_id = site.built()
    actions = site.app.extensions["novella"].extensions.actions
    whole = actions["acme:label"]

    def fails(asked: Asked) -> None:
        whole.perform(asked)
        raise KeyError("oops")

    def tells_what_is_no_json(asked: Asked) -> Any:
        return whole.perform(asked) and object()

    def refuses(asked: Asked) -> None:
        whole.perform(asked)
        raise Invalid("Invalid input for field label: not today")

    for perform, status in ((fails, 500), (tells_what_is_no_json, 500), (refuses, 400)):
        monkeypatch.setitem(actions, "acme:label", replace(whole, perform=perform))
        assert act(site, server_id, LABEL).status_code == status
        assert site.get(f"{SERVERS}/{server_id}").json["server"]["acme:label"] is None


def test_what_the_database_refuses_or_cannot_do_now_is_no_bug_of_the_action(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    server_id = site.built()
    actions = site.app.extensions["novella"].extensions.actions
    whole = actions["acme:label"]

    def loses_a_race(asked: Asked) -> None:
        for _ in range(2):
            asked.session.execute(insert(ServerTag).values(server_id=server_id, tag="t"))

    def finds_its_row_gone(asked: Asked) -> None:
        gone = delete(Server).where(Server.id == server_id)
        asked.session.execute(gone.execution_options(synchronize_session=False))
        asked.session.refresh(asked.server)

    def finds_nobody(asked: Asked) -> None:
        raise OperationalError("select 1", {}, Exception("the server closed the connection"))

    def mistakes(asked: Asked) -> None:
        raise ArgumentError("no such thing")

    for perform, status in (
        (loses_a_race, 409), (finds_its_row_gone, 409), (finds_nobody, 503), (mistakes, 500),
    ):  # fmt: skip
        monkeypatch.setitem(actions, "acme:label", replace(whole, perform=perform))
        assert act(site, server_id, LABEL).status_code == status


def test_a_schema_refers_to_its_own_parts(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    server_id = site.built()
    actions = site.app.extensions["novella"].extensions.actions
    word = {"type": "string", "maxLength": 4}
    schema = {"$ref": "#/$defs/labels", "$defs": {
        "word": word,
        "labels": {"properties": {"label": {"$ref": "#/$defs/word"}, "of": {"$ref": "#"}}},
    }}  # fmt: skip
    monkeypatch.setitem(actions, "acme:label", replace(actions["acme:label"], schema=schema))
    assert act(site, server_id, LABEL).status_code == 200
    for value, field in (({"label": "black"}, "label"), ({"of": {"label": "black"}}, "of.label")):
        wrong = act(site, server_id, {"acme:label": value})
        assert wrong.status_code == 400
        assert f"acme:label.{field}: is longer than 4" in wrong.text
    assert document(site.app)["components"]["schemas"]["action.acme.label"]


def test_each_workflow_that_an_action_can_ask_for_is_accepted(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    actions = site.app.extensions["novella"].extensions.actions
    for at, kind in enumerate(sorted(STARTED)):
        user = ("novella", "other")[at % 2]  # a project may have ten servers
        server_id = site.built(user)
        states = KINDS[kind].vm_states or {"active"}
        site.set_server(server_id, vm_state=sorted(states)[0])
        perform = lambda asked, kind=kind: asked.start(kind)  # noqa: E731
        monkeypatch.setitem(actions, "acme:label", replace(actions["acme:label"], perform=perform))
        accepted = act(site, server_id, LABEL, user)
        assert accepted.status_code == 202, accepted.text
        assert site.get(f"/v1/tasks/{accepted.headers['X-Task-Id']}", user).json["kind"] == kind
