"""Every POST takes an Idempotency-Key: repeated, also at the same moment, it has one effect."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from app.models import (
    Action,
    Base,
    Idempotency,
    Keypair,
    Project,
    Role,
    RoleAssignment,
    Server,
    User,
)
from app.store import database
from app.web.factory import create_app
from tests import templates
from tests.asking import forget_process_state
from tests.integration.asked_posts import (
    ASKED,
    ASKS_HOST,
    REFUSED,
    VERSIONS,
    Asking,
)
from tests.integration.web_fixtures import Site, adopt_settings, seeded_database, site
from tests.postgres import fresh_database
from tests.routes import endpoints

__all__ = ["seeded_database", "site"]
V = "/compute/v2.1"
KEYLESS = {
    f"{V}/servers/<server_id>/os-volume_attachments",
    f"{V}/servers/<server_id>/remote-consoles",
    "/identity/v3/auth/tokens",
    "/v1/hosts/join",
    "/v1/hosts/standing",
    "/v1/placement/dry-run",
}
"""POSTs that make and do nothing."""


def keyed(site: Site, asking: Asking, key: str = "a-key", **more: Any) -> TestResponse:
    """The POST with a key; tokens that it voids are got anew."""
    user, path, body = asking
    headers = {"Idempotency-Key": key, "X-Auth-Token": site.token(user)} | more
    return site.client.post(path, json=body, headers=headers)


def rows() -> dict[str, list[Any]]:
    """Every table's rows but the kept answers."""
    with database.engine().connect() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(table.select())))
            for table in Base.metadata.sorted_tables
            if table.name != Idempotency.__tablename__
        }


def count(table: type[Base]) -> int:
    """How many rows a table has."""
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_each_post_takes_a_key_or_says_why_not(site: Site) -> None:
    posts = [one for one in endpoints(site.app) if one.method == "POST"]
    named = {f"{one.path} {one.label}".strip() for one in posts if not one.view.keyless}
    assert named - ASKS_HOST == set(ASKED) | set(REFUSED)
    assert {one.path for one in posts if one.view.keyless} == KEYLESS


@pytest.mark.parametrize("endpoint", sorted(REFUSED))
def test_a_refusal_is_not_kept_under_the_key(site: Site, endpoint: str) -> None:
    first, again = (keyed(site, asking) for asking in [REFUSED[endpoint](site)] * 2)
    assert 400 <= first.status_code < 500, first.text
    assert (again.status_code, again.text) == (first.status_code, first.text)
    assert "Idempotent-Replayed" not in again.headers
    assert count(Idempotency) == 0


@pytest.mark.parametrize("endpoint", sorted(ASKED))
def test_a_repeated_post_has_one_effect_and_the_same_answer(site: Site, endpoint: str) -> None:
    asking = ASKED[endpoint](site)
    at = {"OpenStack-API-Version": f"compute {VERSIONS.get(endpoint, '2.1')}"}
    first = keyed(site, asking, **at)
    assert first.status_code < 300, first.text
    after = rows()
    if endpoint.endswith("/password"):
        site.tokens["admin"] = site.log_in("admin", "another").headers["X-Subject-Token"]
    second = keyed(site, asking, **at)
    assert (second.status_code, second.text) == (first.status_code, first.text)
    assert second.headers["Idempotent-Replayed"] == "true"
    own = {"x-openstack-request-id", "x-compute-request-id", "date", "idempotent-replayed"}
    kept = [
        sorted((name, value) for name, value in one.headers if name.lower() not in own | {"link"})
        for one in (first, second)
    ]
    assert kept[0] == kept[1]
    assert rows() == after
    assert keyed(site, asking, "another-key", **at).headers.get("Idempotent-Replayed") is None


def test_the_key_of_one_post_is_422_for_another(site: Site) -> None:
    role = ("admin", "/identity/v3/roles", {"role": {"name": "new"}})
    assert keyed(site, role).status_code == 201
    assert keyed(site, ("admin", role[1], {"role": {"name": "newer"}})).status_code == 422
    project = ("admin", "/identity/v3/projects", {"project": {"name": "new"}})
    assert keyed(site, project).status_code == 422
    assert count(Project) == 3


def test_a_private_key_is_told_again_to_its_owner_only(site: Site) -> None:
    asking = ("novella", f"{V}/os-keypairs", {"keypair": {"name": "mine"}})
    made = keyed(site, asking)
    assert "PRIVATE KEY" in made.json["keypair"]["private_key"]
    with database.engine().connect() as connection:
        kept = str(connection.exec_driver_sql("SELECT body FROM idempotency").scalar())
    assert "PRIVATE" not in kept
    assert "ssh-" not in kept
    # A colleague on the same project, with the same key and body.
    with database.transaction() as session:
        novella = session.scalars(select(Project).where(Project.name == "novella")).one()
        other = session.scalars(select(User).where(User.name == "other")).one()
        role = session.scalars(select(Role.id).where(Role.name == "member")).one()
        given = {"scope": "project", "target_id": novella.id}
        session.add(RoleAssignment(user_id=other.id, role_id=role, **given))
    token = site.log_in("other", "other-password", "novella").headers["X-Subject-Token"]
    answer = keyed(site, asking, **{"X-Auth-Token": token})
    assert answer.status_code == 422
    assert "PRIVATE" not in answer.text
    assert count(Keypair) == 1


@pytest.fixture(params=["sqlite", "postgresql"])
def either(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A site on either database."""
    url = f"sqlite:///{tmp_path / 'novella.sqlite'}"
    if request.param == "postgresql":
        url = fresh_database(request.getfixturevalue("postgres"), f"i{uuid.uuid4().hex}")
    templates.started(url)
    configured = adopt_settings(monkeypatch, tmp_path, database_url=url)
    yield Site(create_app(configured), tmp_path)
    database.engine().dispose()
    forget_process_state()


def test_the_same_post_from_many_clients_at_once_has_one_effect(either: Site) -> None:
    server = {"server": {"name": "vm", "flavorRef": "6", "imageRef": either.add_image()}}
    asking: Asking = ("novella", f"{V}/servers", server)
    role: Asking = ("admin", "/identity/v3/roles", {"role": {"name": "new"}})
    either.token("admin")
    for asked in (asking, role):
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda _, asked=asked: keyed(either, asked), range(8)))
        assert {one.status_code for one in answers} <= {201, 202}, [one.text for one in answers]
        assert len({one.text for one in answers}) == 1
        assert [one.headers.get("Idempotent-Replayed") for one in answers].count("true") == 7
    assert (count(Server), count(Action)) == (1, 1)
