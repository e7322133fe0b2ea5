"""Identity on PostgreSQL, where requests really run side by side."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.store import database
from app.web.factory import create_app
from tests import templates
from tests.asking import forget_process_state
from tests.integration.test_web_identity_scopes import (
    V3,
    by_credential,
    by_password,
    ids,
    make_credential,
    role_ids,
    status,
    text,
)
from tests.integration.web_fixtures import Site, adopt_settings
from tests.postgres import fresh_database


@pytest.fixture
def site(tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An application with the users admin and novella, on PostgreSQL."""
    url = fresh_database(postgres, f"i{uuid.uuid4().hex}")
    templates.started(url)
    settings = adopt_settings(monkeypatch, tmp_path, database_url=url)
    yield Site(create_app(settings), tmp_path)
    database.engine().dispose()
    forget_process_state()


def together(site: Site, count: int, ask: Callable[[int], int]) -> list[int]:
    """The statuses of `count` requests at once, in order."""
    site.token("admin")
    with ThreadPoolExecutor(count) as pool:
        return sorted(pool.map(ask, range(count)))


def test_requests_at_once_end_as_if_one_by_one(site: Site) -> None:
    user_id, project_id = ids(site)
    body = {"user": {"name": "race"}}
    made = together(site, 6, lambda _: site.post(f"{V3}/users", "admin", json=body).status_code)
    assert made == [201, *[409] * 5]
    admin = role_ids(site)["admin"]
    grant = f"{V3}/projects/{project_id}/users/{user_id}/roles/{admin}"
    assert together(site, 6, lambda _: site.call("PUT", grant, "admin").status_code) == [204] * 6
    gone = together(site, 6, lambda _: site.delete(grant, "admin").status_code)
    assert gone == [204, *[404] * 5]
    token, path = site.token(), f"{V3}/users/{user_id}/application_credentials"
    named = {"application_credential": {"name": "race"}}
    headers = {"X-Auth-Token": token}
    made = together(
        site, 6, lambda _: site.post(path, None, headers=headers, json=named).status_code
    )
    assert made == [201, *[409] * 5]


def test_logins_beside_password_changes_leave_no_token_of_an_old_password(site: Site) -> None:
    user_id, _ = ids(site)
    got: list[str] = []

    def ask(number: int) -> int:
        if number % 2:
            body = {"user": {"password": "fresh"}}
            return site.call("PATCH", f"{V3}/users/{user_id}", "admin", json=body).status_code
        answer = by_password(site, "novella")
        if answer.status_code == 201:
            got.append(text(answer))
        return answer.status_code

    assert set(together(site, 8, ask)) <= {200, 201, 401}
    assert [status(site, token) for token in got] == [401] * len(got)
    assert status(site, text(by_password(site, "novella", password="fresh"))) == 200


def test_what_goes_with_a_project_and_its_user(site: Site) -> None:
    user_id, project_id = ids(site)
    made = make_credential(site)
    token = text(by_credential(site, made))
    assert site.delete(f"{V3}/projects/{project_id}", "admin").status_code == 204
    assert status(site, token) == 401
    assert by_credential(site, made).status_code == 401
    assert site.delete(f"{V3}/users/{user_id}", "admin").status_code == 204
    assert by_password(site, "novella").status_code == 401
    left = site.get(f"{V3}/role_assignments?include_names", "admin").json["role_assignments"]
    assert {one["user"]["name"] for one in left} == {"admin"}
