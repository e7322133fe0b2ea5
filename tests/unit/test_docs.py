"""What the docs list is what there is."""

from __future__ import annotations

from pathlib import Path

from app.scheduler.filters import FILTERS
from app.scheduler.weighers import WEIGHERS
from app.topology import topology

HOWTO = (Path(__file__).resolve().parents[2] / "docs/howto.md").read_text()


def test_every_filter_and_weigher_is_documented() -> None:
    for rule in FILTERS:
        assert f"`{rule.__name__}`" in HOWTO
    for weigher, _ in WEIGHERS:
        assert f"`{weigher.__name__}`" in HOWTO


def test_every_task_is_documented_at_its_queue() -> None:
    rows = [line for line in HOWTO.splitlines() if line.startswith("| `")]
    for task, queue in topology().tasks.items():
        assert any(f"`{queue}`" in row and f"`{task}`" in row for row in rows), (task, queue)
