"""The one security group of each project: `default`, which lets everything pass."""

from __future__ import annotations

import uuid

DEFAULT_GROUP = "default"
_NAMESPACE = uuid.UUID("7a3c1f0e-5d0b-4c52-9f5e-1f6f0c6f2b9a")


def default_id(project_id: str) -> str:
    """The id of a project's default group: each has its own, always the same."""
    return str(uuid.uuid5(_NAMESPACE, project_id))


def rule_id(project_id: str, direction: str) -> str:
    """The id of the rule for `ingress` or `egress` of a project's default group."""
    return str(uuid.uuid5(_NAMESPACE, f"{project_id}/{direction}"))
