"""A web application on a real database (SQLite, built by the migrations), and its callers."""

from __future__ import annotations

import functools
import shutil
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from flask import Flask, Response, request
from flask.testing import FlaskClient
from jsonschema import Draft202012Validator
from sqlalchemy import func, select
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.config import Settings, load
from app.models import Action, Base, Network, Project, Role, RoleAssignment, Server, User
from app.store import database
from app.web import context, policy
from app.web.api import Route
from app.web.body import parsed
from app.web.factory import create_app
from app.web.microversions import MAX
from app.web.openapi import statuses
from app.web.policy import routes
from app.web.shapes.parts import Sight
from tests import templates
from tests.asking import forget_process_state
from tests.templates import PASSWORDS, quick_hash

OCTETS = "application/octet-stream"


@pytest.fixture(scope="session")
def seeded_database() -> Path:
    """A database as it is after the first start; tests take copies."""
    return templates.sqlite_file()


@dataclass
class Site:
    """The application under test, with one client per user."""

    app: Flask
    directory: Path
    tokens: dict[str, str] = field(default_factory=dict)

    @property
    def client(self) -> FlaskClient:
        """A client without a token."""
        return self.app.test_client()

    def log_in(self, user: str, password: str, project: str | None = None) -> TestResponse:
        """Ask for a token on `project` (the user's own name unless given)."""
        return self.client.post(
            "/identity/v3/auth/tokens", json=credentials(user, password, project)
        )

    def token(self, user: str = "novella") -> str:
        """The user's token on the project of the same name."""
        if user not in self.tokens:
            answer = self.log_in(user, PASSWORDS.get(user, f"{user}-password"))
            assert answer.status_code == 201, answer.text
            self.tokens[user] = answer.headers["X-Subject-Token"]
        return self.tokens[user]

    def call(
        self, method: str, path: str, user: str | None = "novella", **more: Any
    ) -> TestResponse:
        """One request as `user`; `version` is a compute microversion."""
        headers = dict(more.pop("headers", {}))
        if user is not None:
            headers.setdefault("X-Auth-Token", self.token(user))
        if version := more.pop("version", None):
            headers["OpenStack-API-Version"] = f"compute {version}"
        return self.client.open(path, method=method, headers=headers, **more)

    def get(self, path: str, user: str | None = "novella", **more: Any) -> TestResponse:
        """GET as `user`."""
        return self.call("GET", path, user, **more)

    def post(self, path: str, user: str | None = "novella", **more: Any) -> TestResponse:
        """POST as `user`."""
        return self.call("POST", path, user, **more)

    def delete(self, path: str, user: str | None = "novella", **more: Any) -> TestResponse:
        """DELETE as `user`."""
        return self.call("DELETE", path, user, **more)

    def add_user(self, name: str, role: str = "member") -> None:
        """A user on a project of its own, both called `name`."""
        with database.transaction() as session:
            project = Project(id=uuid.uuid4().hex, name=name)
            user = User(
                id=uuid.uuid4().hex,
                name=name,
                password_hash=quick_hash(f"{name}-password"),
                default_project_id=project.id,
            )
            role_id = session.scalars(select(Role.id).where(Role.name == role)).one()
            session.add_all([project, user])
            session.add(
                RoleAssignment(
                    user_id=user.id, role_id=role_id, scope="project", target_id=project.id
                )
            )

    def add_image(self, user: str = "novella", content: bytes = b"x" * 4096, **more: Any) -> str:
        """An image with data, by way of the API; its id."""
        body = {"name": "tiny", "disk_format": "raw", "container_format": "bare"} | more
        made = self.post("/image/v2/images", user, json=body)
        assert made.status_code == 201, made.text
        put = self.upload(made.json["id"], content, user)
        assert put.status_code == 204, put.text
        return str(made.json["id"])

    def upload(self, image_id: str, content: Any, user: str = "novella") -> TestResponse:
        """PUT an image's data."""
        return self.call(
            "PUT", f"/image/v2/images/{image_id}/file", user, data=content, content_type=OCTETS
        )

    def default_network(self) -> str:
        """The shared network that the first start made."""
        with database.reading() as session:
            return session.scalars(select(Network.id)).one()

    def add_server(self, user: str = "novella", **more: Any) -> TestResponse:
        """The answer to a create of `more` besides name, flavor and image."""
        more.setdefault("imageRef", None)
        if more["imageRef"] is None:
            more["imageRef"] = self.add_image(user)
        body = {"server": {"name": "vm", "flavorRef": "6"} | more}
        return self.post("/compute/v2.1/servers", user, json=body)

    def set_server(self, server_id: str, **columns: Any) -> None:
        """What hosts would have brought about, and the end of its action."""
        with database.transaction() as session:
            server = session.get_one(Server, server_id)
            for name, value in columns.items():
                setattr(server, name, value)
            running = select(Action).where(
                Action.server_id == server_id, Action.finished_at.is_(None)
            )
            for action in session.scalars(running):
                self._end(action)

    def built(self, user: str = "novella", **more: Any) -> str:
        """A server as it is once built; its id."""
        server_id = str(self.add_server(user, **more).json["server"]["id"])
        self.set_server(
            server_id, vm_state="active", task_state=None, power_state=1, host="n1", launched_at=1.0
        )
        return server_id

    @staticmethod
    def _end(action: Action) -> None:
        action.state, action.finished_at = "succeeded", action.created_at + 1
        action.revision += 1


def credentials(user: str, password: str, project: str | None = None) -> dict[str, Any]:
    """The body of a password login, scoped by names."""
    domain = {"id": "default"}
    who = {"user": {"name": user, "domain": domain, "password": password}}
    scope = {"project": {"name": project or user, "domain": domain}}
    identity_part = {"methods": ["password"], "password": who}
    return {"auth": {"identity": identity_part, "scope": scope}}


def adopt_settings(monkeypatch: pytest.MonkeyPatch, directory: Path, **more: str) -> Settings:
    """Make `directory` this process's state directory; nothing answers as its broker."""
    given = {"state_dir": str(directory), "broker_url": "redis://127.0.0.1:1/0"} | more
    for name, value in given.items():
        monkeypatch.setenv(f"NOVELLA_{name.upper()}", value)
    forget_process_state()
    return load()


def hold_to_declared(app: Flask) -> None:
    """Let no route ask a rule that it does not declare: `novella policy list` goes by that."""
    judge = app.extensions["novella"].judge
    judged = judge.allows
    guards = {(guard.method, guard.path): guard.rules for guard in routes.guards(app)}

    def allows(rule: str, target: Any, credentials: Any) -> bool:
        method = "GET" if request.method == "HEAD" else request.method
        path = str(request.url_rule)
        declared = {policy.IS_ADMIN, *guards.get((method, path), ())}
        if rule not in declared and path.endswith("/servers/<server_id>/action"):
            for name in parsed():
                declared |= set(guards.get((method, f"{path} ({name})"), ()))
        assert rule in declared, f"{request.method} {request.url_rule} asks {rule} undeclared"
        return judged(rule, target, credentials)

    judge.allows = allows


@pytest.fixture
def site(tmp_path: Path, seeded_database: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An application with the users admin, novella and other, each on a project of its own."""
    shutil.copy(seeded_database, tmp_path / "novella.sqlite")
    made = Site(create_app(adopt_settings(monkeypatch, tmp_path)), tmp_path)
    hold_to_declared(made.app)
    made.add_user("other")
    undeclared = note_undeclared(made.app)
    misshapen = note_misshapen(made.app)
    yield made
    database.engine().dispose()
    forget_process_state()
    assert undeclared == set(), f"the OpenAPI document does not know {sorted(undeclared)}"
    assert misshapen == set(), f"answers that their routes do not declare: {sorted(misshapen)}"


def untouched(site: Site) -> bool:
    """Whether the site is as the fixture makes it: nobody has logged in or written a row."""
    if (site.directory / "keys").exists() or database.engine().name != "sqlite":
        return False
    with database.reading() as session:
        return _counts(session) == _of_template() + OF_OTHER


OF_OTHER = Counter(projects=1, users=1, role_assignments=1)
"""What the fixture has put to the template's rows."""


@functools.cache
def _of_template() -> Counter[str]:
    engine = database.make_engine(f"sqlite:///{templates.sqlite_file()}")
    with Session(engine) as session:
        found = _counts(session)
    engine.dispose()
    return found


def _counts(session: Session) -> Counter[str]:
    """How many rows each table has that has any."""
    tables = Base.metadata.sorted_tables
    return +Counter(
        {table.name: session.scalar(select(func.count()).select_from(table)) for table in tables}
    )


def note_misshapen(app: Flask) -> set[str]:
    """What the application answers from now on with bodies that their routes do not declare."""
    found: set[str] = set()
    added = {
        name: dict(f.schema) for name, f in app.extensions["novella"].extensions.fields.items()
    }

    @app.after_request
    def note(response: Response) -> Response:
        view = getattr(app.view_functions.get(request.endpoint or ""), "view_class", None)
        shows = view.shows if view is not None and issubclass(view, Route) else {}
        method = request.method.lower()
        if method in shows and 200 <= response.status_code < 300:
            version = context.version() if context.service() == "compute" else MAX
            schema = Sight(version, added).of(shows[method])
            for wrong in misshapes(schema, response):
                found.add(f"{method} {request.url_rule} at {version}: {wrong}")
        return response

    return found


def misshapes(schema: Any, response: Response) -> list[str]:
    """How an answer is not as its schema has it."""
    if schema is None:
        return ["a body"] if response.data else []
    errors = Draft202012Validator(schema).iter_errors(response.json)
    return [f"{error.json_path}: {error.message[:300]}" for error in errors]


def note_undeclared(app: Flask) -> set[str]:
    """What the application answers from now on with statuses that its routes do not declare."""
    found: set[str] = set()

    @app.after_request
    def note(response: Response) -> Response:
        view = getattr(app.view_functions.get(request.endpoint or ""), "view_class", None)
        if view is None or not issubclass(view, Route):
            return response
        method = "get" if request.method == "HEAD" else request.method.lower()
        # What fails inside is a test's own doing: the database away, a broken part put in.
        if request.url_rule is None or not hasattr(view, method) or response.status_code >= 500:
            return response
        if response.status_code not in statuses.of(view, method, request.url_rule.rule):
            found.add(f"{method} {request.url_rule.rule}: {response.status_code}")
        return response

    return found
