"""What came of a run: counted while it goes on, judged at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

Json = dict[str, Any]
LEAST_GOOD = 30
"""Percent of answers that must be 2xx: below that, a run says little of what requests do."""
NOT_IMPLEMENTED = 501
"""Nova's answer for what hypervisors cannot do; good where it is declared."""
_SHOWN = 20


@dataclass
class Tally:
    """Answers by class; what should not have been; `wanted` are the actions that can succeed."""

    wanted: set[str]
    classes: Counter[str] = field(default_factory=Counter)
    not_implemented: int = 0
    roles: Counter[str] = field(default_factory=Counter)
    broken: list[Json] = field(default_factory=list)
    undocumented: list[Json] = field(default_factory=list)
    operations: set[str] = field(default_factory=set)
    reached: set[str] = field(default_factory=set)
    total: int = 0

    def count(self, about: Json, declared: set[int]) -> None:
        """Note an answer: `about` has operation, action, role, status, and what was sent and told.

        `declared` are the statuses that the document knows for the operation.
        """
        status, operation = int(about["status"]), str(about["operation"])
        self.total += 1
        self.roles[about["role"]] += 1
        self.classes[f"{status // 100}xx"] += 1
        if status < 300:
            self.operations.add(operation)
            self.reached |= {about["action"]} if about["action"] else set()
        if status == NOT_IMPLEMENTED and status in declared:
            self.not_implemented += 1
        elif status >= 500:
            self.broken.append(about)
        elif status not in declared:
            self.undocumented.append(about)

    def summary(self) -> Json:
        """The run as one JSON object."""
        return {
            "requests": self.total,
            "classes": dict(sorted(self.classes.items())),
            "roles": dict(sorted(self.roles.items())),
            "percent_2xx": round(100 * self.classes["2xx"] / max(1, self.total), 1),
            "operations_2xx": len(self.operations),
            "actions": sorted(self.reached),
            "actions_missed": sorted(self.wanted - self.reached),
            "not_implemented": self.not_implemented,
            "server_errors": self.broken,
            "undocumented": self.undocumented,
        }


def is_good(summary: Json) -> bool:
    """Whether the run held all that it must."""
    return (
        not summary["server_errors"]
        and not summary["undocumented"]
        and not summary["actions_missed"]
        and summary["percent_2xx"] >= LEAST_GOOD
    )


def told(summary: Json) -> str:
    """The run for people."""
    classes = ", ".join(f"{name} {count}" for name, count in summary["classes"].items())
    roles = ", ".join(f"{name} {count}" for name, count in summary["roles"].items())
    reached, missed = len(summary["actions"]), summary["actions_missed"]
    lines = [
        f"requests            {summary['requests']} ({roles})",
        f"by class            {classes}",
        f"5xx                 {len(summary['server_errors'])}, "
        f"and {summary['not_implemented']} declared 501",
        f"undocumented        {len(summary['undocumented'])}",
        f"2xx                 {summary['percent_2xx']} % (at least {LEAST_GOOD})",
        f"operations with 2xx {summary['operations_2xx']}",
        f"actions reached     {reached} of {reached + len(missed)}"
        + (f"; missed: {', '.join(missed)}" if missed else ""),
    ]
    for kind in ("server_errors", "undocumented"):
        for one in summary[kind][:_SHOWN]:
            lines.append(f"{kind}: {one}")
    return "\n".join(lines)
