"""What a list costs in statements does not grow with what there is."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path

import pytest

from app.store import database
from app.web.factory import create_app
from tests.asking import forget_process_state
from tests.filled import fill_servers, fill_the_rest, statements
from tests.integration.web_fixtures import Site, adopt_settings, seeded_database
from tests.routes import endpoints

__all__ = ["seeded_database"]
VERSIONS = ("2.1", "latest")
EMPTY = {"all_tenants": "1", "all_projects": "true"}


def counts(
    folder: Path, seeded: Path, patch: pytest.MonkeyPatch, many: int
) -> dict[tuple[str, str], int]:
    """Statements of each list that needs no more than a path, by route and microversion."""
    folder.mkdir()
    shutil.copy(seeded, folder / "novella.sqlite")
    site = Site(create_app(adopt_settings(patch, folder)), folder)
    fill_servers(site, many)
    fill_the_rest(site, many)
    found = {}
    for one in endpoints(site.app):
        if one.method != "GET" or one.arguments or one.is_public:
            continue
        for version in VERSIONS:
            get = partial(site.get, one.path, "admin", version=version, query_string=EMPTY)
            if get().status_code == 200:  # and what is read once for each process, is
                # Which tokens are revoked is read every few seconds, by whichever request is due.
                found[one.path, version] = min(len(statements(get)) for _ in range(2))
    database.engine().dispose()
    forget_process_state()
    return found


def test_lists_take_as_many_statements_for_thirty_of_everything_as_for_five(
    tmp_path: Path, seeded_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = counts(tmp_path / "few", seeded_database, monkeypatch, 5)
    many = counts(tmp_path / "many", seeded_database, monkeypatch, 30)
    assert len(few) > 60
    assert few == many
    assert max(few.values()) <= 12


@pytest.mark.full
@pytest.mark.timeout(1800)
def test_lists_take_as_many_statements_for_a_thousand_of_everything(
    tmp_path: Path, seeded_database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = counts(tmp_path / "few", seeded_database, monkeypatch, 10)
    assert few == counts(tmp_path / "many", seeded_database, monkeypatch, 1000)
