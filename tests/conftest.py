"""Fixtures that several tiers share."""

from __future__ import annotations

import gc
import os
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.config import load, settings
from tests.asking import adopt, forget_process_state
from tests.cloud import FORKS, Cloud, running
from tests.postgres import postgresql

# Hundreds of applications come and go in one process: looking through all of them for garbage as
# often as Python does by itself takes a fifth of these tests' time.
gc.set_threshold(50_000, 20, 20)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """Whatever a test sets in the environment ends with it (command lines set settings there)."""
    before = dict(os.environ)
    if settings.cache_info().currsize and settings() != load():
        forget_process_state()  # of a cloud that has ended
    yield
    os.environ.clear()
    os.environ.update(before)
    if factory := sys.modules.get("app.web.factory"):
        for namespace in factory._namespaces():
            namespace.apis.clear()  # Flask-RESTX would keep every application that ever was


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A cloud with database and Redis, whose rows and queues this process shares."""
    with running(Cloud(tmp_path)) as made:
        adopt(made, monkeypatch)
        yield made


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a PostgreSQL server of this test run."""
    with postgresql() as url:
        yield url


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Spread the files that keep the processor busy among those that wait, the short ones last.

    In the order of names, several at a time boot guests for minutes, and then none does.
    """
    items.sort(key=lambda item: _turn(item.path))


def _turn(path: Path) -> float:
    spread = zlib.crc32(path.name.encode()) / (1 << 32)
    return {"e2e": 0.7 * spread, "integration": spread}.get(path.parent.name, 1 + spread)


def pytest_sessionfinish() -> None:
    """What the tests' clouds were forked from ends with them."""
    FORKS.close()
