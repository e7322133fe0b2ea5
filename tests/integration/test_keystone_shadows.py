"""Rows for projects and users of a Keystone: made once, followed, whoever else has their names."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import func, select

from app.models import Domain, Project, User
from app.store import database, identity, shadows
from app.store.shadows import Shadow
from tests import templates
from tests.asking import forget_process_state
from tests.cloud import CHECKOUT
from tests.integration.web_fixtures import adopt_settings
from tests.postgres import fresh_database

HOME = ("default", "Default")


@pytest.fixture(params=["sqlite", "postgresql"])
def rows(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """A database as it is after the first start, with a project and a user called admin."""
    url = f"sqlite:///{tmp_path / 'novella.sqlite'}"
    if request.param == "postgresql":
        url = fresh_database(request.getfixturevalue("postgres"), f"k{uuid.uuid4().hex}")
    templates.started(url)
    adopt_settings(monkeypatch, tmp_path, database_url=url)
    yield
    database.engine().dispose()
    forget_process_state()


def keep(*people: Shadow) -> None:
    """As a request does."""
    with database.transaction() as session:
        for one in people:
            shadows.keep(session, one)


def name_of(shadow: Shadow) -> str | None:
    """The name in its row."""
    with database.reading() as session:
        return session.scalar(select(shadow.kind.name).where(shadow.kind.id == shadow.id))


@pytest.mark.usefixtures("rows")
def test_who_comes_at_once_from_many_requests_gets_one_row() -> None:
    red = Shadow(Project, "a" * 32, "red", ("d" * 32, "Second"))
    ann = Shadow(User, "b" * 64, "ann", HOME)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: keep(red, ann), range(16)))
    with database.reading() as session:
        assert identity.find_project(session, identity.Ref(id=red.id)) is not None
        assert session.scalar(select(func.count()).where(Project.name == "red")) == 1
        assert session.scalar(select(func.count()).where(User.name == "ann")) == 1
        assert session.get_one(Domain, "d" * 32).name == "Second"
        assert session.get_one(User, ann.id).password_hash is None
        assert shadows.is_kept(session, red)


@pytest.mark.usefixtures("rows")
def test_a_name_of_the_built_in_identity_s_is_kept_with_the_id() -> None:
    admin = Shadow(Project, "c" * 32, "admin", HOME)
    keep(admin)
    keep(admin)
    assert name_of(admin) == f"admin ({'c' * 32})"
    with database.reading() as session:
        assert shadows.is_kept(session, admin)
        assert session.scalar(select(func.count()).where(Project.name == "admin")) == 1


@pytest.mark.usefixtures("rows")
def test_a_renamed_project_is_followed_and_its_old_name_is_free() -> None:
    red = Shadow(Project, "e" * 32, "red", HOME)
    keep(red)
    scarlet = Shadow(Project, red.id, "scarlet", HOME)
    with database.reading() as session:
        assert not shadows.is_kept(session, scarlet)
    keep(scarlet)
    another = Shadow(Project, "f" * 32, "red", HOME)
    keep(another)
    assert (name_of(scarlet), name_of(another)) == ("scarlet", "red")


@pytest.mark.usefixtures("rows")
def test_two_that_swap_names_end_with_rows_of_their_own() -> None:
    one, two = Shadow(Project, "1" * 32, "one", HOME), Shadow(Project, "2" * 32, "two", HOME)
    keep(one, two)
    keep(Shadow(Project, one.id, "two", HOME))
    assert name_of(one) == "one"  # until the row of `two` lets go of it
    keep(Shadow(Project, two.id, "zwei", HOME), Shadow(Project, one.id, "two", HOME))
    assert (name_of(one), name_of(two)) == ("two", "zwei")


@pytest.mark.usefixtures("rows")
def test_nobody_logs_in_as_a_shadow_when_identity_is_built_in_again() -> None:
    keep(Shadow(User, "b" * 32, "ann", HOME))
    with database.reading() as session:
        found = identity.find_user(session, identity.Ref(id="b" * 32))
    assert found is not None
    assert not identity.password_matches(found[0].password_hash, "")


def test_web_ends_with_one_sentence_when_it_cannot_ask(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "gunicorn", "-c", "python:app.web.gunicorn", "app.web.wsgi"],
        env=os.environ | {"NOVELLA_STATE_DIR": str(tmp_path), "NOVELLA_AUTH": "keystone"},
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode != 0
    assert done.stderr.strip() == "web: setting keystone_url: auth = keystone needs it"
