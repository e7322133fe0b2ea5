"""What the dashboard and the alert rules in `deploy/` ask Prometheus for."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
DASHBOARD = DEPLOY / "grafana/novella.json"
ALERTS = DEPLOY / "prometheus-alerts.yml"
PROMETHEUS = DEPLOY / "prometheus.yml"
_NAME = re.compile(r"\b(?:novella|process)_[a-z_]+")


def shown() -> list[str]:
    """The dashboard's expressions."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return [target["expr"] for panel in panels for target in panel.get("targets", ())]


def alerts() -> list[str]:
    """The alert rules' expressions."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule["expr"] for group in groups for rule in group["rules"]]


def expressions() -> list[str]:
    """All of both."""
    return [*shown(), *alerts()]


def metrics(of: list[str]) -> set[str]:
    """The names of the metrics in these expressions."""
    return {name for expression in of for name in _NAME.findall(expression)}
