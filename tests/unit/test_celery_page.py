"""docs/celery.md names the versions that are pinned, and tests that there are."""

from __future__ import annotations

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs/celery.md").read_text()
NAMES = ("celery", "kombu", "redis")


def test_the_versions_on_the_page_are_pinned_locked_and_installed() -> None:
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    pins = dict(one.replace("[redis]", "").split("==") for one in wanted if "==" in one)
    for name in NAMES:
        assert f"**{name} {pins[name]}**" in PAGE
        assert version(name) == pins[name]
        assert f"\n{name}=={pins[name]}\n" in (ROOT / "requirements.lock").read_text()


def test_the_page_names_each_test_of_the_facts_and_no_other() -> None:
    files = sorted((ROOT / "tests/integration").glob("test_celery_*.py"))
    there = {
        name for file in files for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)
    }
    assert set(re.findall(r"`(test_\w+)`", PAGE)) == there
