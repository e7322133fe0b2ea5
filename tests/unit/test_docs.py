"""What the docs list is what there is."""

from __future__ import annotations

from pathlib import Path

from app.scheduler.filters import FILTERS
from app.scheduler.weighers import WEIGHERS
from app.topology import topology

DOCS = Path(__file__).resolve().parents[2] / "docs"
HOWTO = (DOCS / "howto.md").read_text()
SCHEDULER = (DOCS / "scheduler.md").read_text()


def test_every_filter_and_weigher_is_documented_with_novas_name() -> None:
    rows = [line for line in SCHEDULER.splitlines() if line.startswith("| `")]
    for rule in (*FILTERS.values(), *WEIGHERS.values()):
        assert any(f"`{rule.name}`" in row and rule.nova in row for row in rows), rule.name


def test_every_task_is_documented_at_its_queue() -> None:
    rows = [line for line in HOWTO.splitlines() if line.startswith("| `")]
    for task, queue in topology().tasks.items():
        assert any(f"`{queue}`" in row and f"`{task}`" in row for row in rows), (task, queue)
