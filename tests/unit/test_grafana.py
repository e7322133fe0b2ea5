"""The dashboard and the alert rules: well formed, and about metrics that there are.

That each metric is really exported is proved against a real answer in test_metrics.py.
"""

from __future__ import annotations

import json
from itertools import combinations
from typing import Any

import pytest
import yaml

from tests.dashboard import ALERTS, DASHBOARD, PROMETHEUS, expressions

PANELS: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]


def test_it_can_be_imported_beside_others() -> None:
    dashboard = json.loads(DASHBOARD.read_text())
    variables = {one["name"]: one for one in dashboard["templating"]["list"]}
    assert dashboard["uid"] == "novella-cloud"
    assert "id" not in dashboard
    assert variables["datasource"]["query"] == "prometheus"
    ids = [panel["id"] for panel in PANELS]
    assert len(ids) == len(set(ids))


def test_every_panel_asks_the_chosen_source_and_job() -> None:
    shown = [panel for panel in PANELS if panel["type"] != "row"]
    assert len(shown) > 20
    for panel in shown:
        assert panel["datasource"]["uid"] == "${datasource}"
        assert panel["targets"]
        for target in panel["targets"]:
            assert target["datasource"]["uid"] == "${datasource}"
            assert 'job=~"$job"' in target["expr"]


def test_panels_do_not_lie_over_each_other() -> None:
    for one, other in combinations((panel["gridPos"] for panel in PANELS), 2):
        beside = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        below = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert beside or below, (one, other)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in PANELS)


@pytest.mark.parametrize("expression", expressions())
def test_brackets_are_closed(expression: str) -> None:
    for opening, closing in ("()", "{}", "[]"):
        assert expression.count(opening) == expression.count(closing)


def test_the_example_scrapes_metrics_with_the_rules_beside_it() -> None:
    example = yaml.safe_load(PROMETHEUS.read_text())
    assert example["rule_files"] == [ALERTS.name]
    assert example["scrape_configs"][0]["metrics_path"] == "/metrics"
    rules = yaml.safe_load(ALERTS.read_text())["groups"][0]["rules"]
    names = [rule["alert"] for rule in rules]
    assert len(names) == len(set(names))
    assert all({"expr", "for", "labels", "annotations"} <= set(rule) for rule in rules)
