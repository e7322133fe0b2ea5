"""docs/settings.md names every setting, with the default that the code has."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

from app.config import Settings

PAGE = Path(__file__).parents[2] / "docs/settings.md"
ROW = re.compile(r"^\| `([a-z_]+)` \| (?:`([^`]*)`)? ?\| (.+) \|$", re.MULTILINE)


def test_the_page_has_every_setting_once_in_the_codes_order():
    named = [name for name, _, _ in ROW.findall(PAGE.read_text())]
    assert named == [field.name for field in fields(Settings)]


def test_the_page_has_the_right_defaults():
    written = {name: default for name, default, _ in ROW.findall(PAGE.read_text())}
    defaults = {field.name: getattr(Settings(), field.name) for field in fields(Settings)}
    assert written == {name: "" if v in (None, "") else str(v) for name, v in defaults.items()}


def test_every_setting_has_a_meaning():
    assert all(len(meaning) > 10 for _, _, meaning in ROW.findall(PAGE.read_text()))
