"""The queues, read from worker_queues.yaml; nothing else knows their names."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


@dataclass(frozen=True)
class Role:
    """A kind of worker: its queues (one may be a template with `{name}`), pool and threads."""

    name: str
    queues: tuple[str, ...]
    pool: str
    concurrency: int


@dataclass(frozen=True)
class Topology:
    """All roles, and each task's queue."""

    roles: tuple[Role, ...]
    tasks: dict[str, str]

    def queue(self, task: str, host: str | None = None) -> str:
        """The queue of `task`; for a host's task, of that host."""
        return self.tasks[task].replace("{name}", host or "")

    def role_of(self, queues: list[str]) -> Role | None:
        """The role that consumes the first of these queues."""
        for role in self.roles:
            if any(self._host(template, queues[0]) is not None for template in role.queues):
                return role
        return None

    def hosts(self, queues: list[str]) -> list[str]:
        """The names of the hosts whose queues these are."""
        templates = [q for role in self.roles for q in role.queues if "{name}" in q]
        named = [self._host(template, queue) for template in templates for queue in queues]
        return [name for name in named if name]

    @staticmethod
    def _host(template: str, queue: str) -> str | None:
        """The host's name when `queue` is an instance of `template` ("" for a plain match)."""
        pattern = re.escape(template).replace(r"\{name\}", r"([A-Za-z0-9._-]+)")
        match = re.fullmatch(pattern, queue)
        return None if match is None else (match.group(1) if match.groups() else "")


@functools.cache
def topology() -> Topology:
    """The topology of the checkout or of the wheel."""
    package = Path(__file__).resolve().parent
    packaged = package / "_data" / "worker_queues.yaml"
    source = packaged if packaged.exists() else package.parent / "worker_queues.yaml"
    data: dict[str, Any] = yaml.safe_load(source.read_text())
    roles = tuple(
        Role(name, tuple(role["queues"]), role["pool"], int(role["concurrency"]))
        for name, role in data["roles"].items()
    )
    return Topology(roles, dict(data["tasks"]))
