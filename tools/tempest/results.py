"""What became of each test, and the tables that say so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

_FIXTURE = re.compile(r"(?:setUpClass|tearDownClass) \((?P<name>[^)]+)\)")
_STATUS = {"success": "passed", "xfail": "passed", "skip": "skipped"}


@dataclass(frozen=True)
class Outcome:
    """One test: `passed`, `failed` or `skipped`, with the reason or the traceback."""

    name: str
    status: str
    text: str = ""
    seconds: float = 0.0


def plain(test: str) -> str:
    """A test's id without its attributes: `a.b.C.test_d[id-…,smoke]` is `a.b.C.test_d`."""
    return test.partition("[")[0]


def outcomes(tests: Iterable[str], ended: Iterable[dict[str, Any]]) -> list[Outcome]:
    """One outcome for each of `tests`, and one more for each class whose clean-up failed.

    A class that was skipped or failed as a whole is one event in the stream, and all of its tests
    here. A test of which nothing was heard has failed: its worker died.
    """
    by_test: dict[str, Outcome] = {}
    by_class: dict[str, Outcome] = {}
    broken: list[Outcome] = []
    for one in ended:
        made = _outcome(one)
        fixture = _FIXTURE.match(one["id"])
        if fixture is None:
            by_test[plain(one["id"])] = made
        elif one["id"].startswith("setUpClass"):
            by_class[fixture["name"]] = made
        elif made.status == "failed":
            broken.append(made)
    unheard = Outcome("", "failed", "nothing was heard of it: its worker ended early")
    found = []
    for name in map(plain, tests):
        whole = by_class.get(name.rpartition(".")[0], unheard)
        found.append(by_test.get(name) or Outcome(name, whole.status, whole.text))
    return found + broken


def _outcome(one: dict[str, Any]) -> Outcome:
    status = _STATUS.get(one["status"], "failed")
    text = one["reason"] if status == "skipped" else one["traceback"]
    return Outcome(plain(one["id"]), status, text.strip(), one["seconds"])


def module(name: str) -> str:
    """A test's module without `tempest.`; a clean-up's is that of its class."""
    fixture = _FIXTURE.match(name)
    path = f"{fixture['name']}.x" if fixture else name
    return ".".join(path.split(".")[1:-2])


def table(found: Collection[Outcome]) -> str:
    """Passed, failed and skipped by module, as a Markdown table."""
    counts = Counter((module(one.name), one.status) for one in found)
    names = sorted({name for name, _ in counts})
    total = Counter(one.status for one in found)
    lines = ["| module | passed | failed | skipped |", "|---|--:|--:|--:|"]
    kinds = ("passed", "failed", "skipped")
    lines += [
        f"| {name} | " + " | ".join(str(counts[name, kind] or "") for kind in kinds) + " |"
        for name in names
    ]
    lines.append("| **all** | " + " | ".join(f"**{total[kind]}**" for kind in kinds) + " |")
    return "\n".join(lines)


def skips(found: Collection[Outcome]) -> str:
    """How many were skipped for which reason, most first, as a Markdown table."""
    counts = Counter(_reason(one.text) for one in found if one.status == "skipped")
    lines = ["| skipped | because |", "|--:|---|"]
    lines += [f"| {count} | {reason} |" for reason, count in counts.most_common()]
    return "\n".join(lines)


def _reason(text: str) -> str:
    last = text.strip().splitlines()[-1] if text.strip() else "no reason given"
    # A class's own name tells nothing that the module's row does not.
    return re.sub(
        r"^\w+ (skipped as|requires)", r"\1", last.partition("SkipException: ")[2] or last
    )


def summary(found: Collection[Outcome], lost: Collection[str]) -> dict[str, Any]:
    """The same for programs: counts, and who failed or stopped passing."""
    total = Counter(one.status for one in found)
    return {
        "passed": total["passed"],
        "failed": total["failed"],
        "skipped": total["skipped"],
        "lost": sorted(lost),
        "failures": {one.name: one.text for one in found if one.status == "failed"},
        "skips": dict(Counter(_reason(one.text) for one in found if one.status == "skipped")),
        "passing": sorted(one.name for one in found if one.status == "passed"),
        "seconds": {one.name: round(one.seconds, 2) for one in found if one.status == "passed"},
    }


def lost(
    found: Collection[Outcome], passing: Iterable[str], regex: str, chosen: Iterable[str]
) -> list[str]:
    """Those of `passing` that the run was of and that did not pass: skipped and vanished ones too.

    Chosen ones may have matched by their attributes, which `passing` has not.
    """
    passed = {one.name for one in found if one.status == "passed"}
    matched = set(map(plain, chosen))
    meant = {name for name in passing if name in matched or re.search(regex, name)}
    return sorted(meant - passed)
