"""docs/reliability.md has every row of the matrix, and names tests that exist."""

from __future__ import annotations

import re

from tests.matrix import CHECKOUT, ROWS

PAGE = (CHECKOUT / "docs/reliability.md").read_text()


def test_every_promise_is_on_the_page_with_its_measurement() -> None:
    for row in ROWS.values():
        promise = f"| {row.dies} | {row.recovered_by} | {row.seconds:.0f} s from {row.since} | "
        (line,) = [line for line in PAGE.splitlines() if line.startswith(promise)]
        assert re.match(r"\d+\.\d s \|", line.removeprefix(promise)), line


def test_every_story_is_told_by_a_test_that_exists() -> None:
    told = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", PAGE)
    assert len(told) >= 10
    for path, name in told:
        assert f"def {name}(" in (CHECKOUT / path).read_text(), name
