"""The recovery matrix: what is promised, what tests measured, and the table of both.

Each test that provokes a row records its time here. `python -m tests.matrix` prints the table of
docs/reliability.md from the last records; they lie in var/test/matrix, or where the variable
NOVELLA_MATRIX says.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
SLACK = 5.0
"""Seconds that a test allows beyond twice the promise: other work shares the processors."""


@dataclass(frozen=True)
class Row:
    """One promise: `seconds` count from `since`."""

    dies: str
    recovered_by: str
    seconds: float
    since: str

    @property
    def limit(self) -> float:
        """The seconds after which its test fails."""
        return 2 * self.seconds + SLACK


ROWS = {
    "web": Row("web dies after the commit, before it rings", "ring", 4, "its death"),
    "lost": Row(
        "a message is lost: chain, host's or outcome",
        "ring at the same fence; the journal answers again",
        4,
        "the loss, or the ring's backoff",
    ),
    "doubled": Row("a message comes twice", "CAS, journal", 4, "its first copy"),
    "redis-away": Row(
        "Redis is away, and comes back with nothing", "new epoch: all is rung", 6, "its return"
    ),
    "redis-flushed": Row("Redis loses its data", "new epoch: all is rung", 6, "the loss"),
    "redis-hung": Row("Redis hangs", "socket timeouts, health checks", 25, "its return"),
    "scheduler": Row("a scheduler worker dies at any line", "ring, another worker", 4, "its death"),
    "host-restarts": Row(
        "a host worker dies in mid-build, and restarts",
        "new session, ring; the guest's metadata guards",
        5,
        "its first beat",
    ),
    "host-away": Row(
        "a host worker stays away, before the commit",
        "host down: cleanup owed, next host",
        40,
        "its death",
    ),
    "commit-returns": Row(
        "a host worker dies after the commit, before it resumed the guest, and returns",
        "new session, ring",
        10,
        "its first beat",
    ),
    "commit-away": Row(
        "… and stays away", "deadline of the stage: ERROR, claim kept", 300, "the commit"
    ),
    "host-returns": Row(
        "a host returns after its server moved", "reconcile, cleanup", 10, "its first beat"
    ),
    "libvirtd-killed": Row(
        "libvirtd is killed", "close callback, retry in the task", 5, "its return"
    ),
    "libvirtd-hung": Row(
        "libvirtd hangs", "keepalive; driver_down, nothing is placed there", 25, "its hanging"
    ),
    "database": Row(
        "the database is away", "503, no 202 given; tasks end, and are rung", 4, "its return"
    ),
    "bad-host": Row(
        "one host fails every build", "next host; the weigher avoids it", 2, "the failure"
    ),
    "no-host": Row("no host is left", "ERROR with its fault, claim freed", 2, "the last failure"),
}


def directory() -> Path:
    """Where the records lie."""
    return Path(os.environ.get("NOVELLA_MATRIX") or CHECKOUT / "var/test/matrix")


def record(row: str, case: str, measured: float, note: str = "") -> None:
    """Keep what a test measured for a case of a row, in seconds; fails the test past the limit.

    `note` says what of the measurement differs from the row: a shorter setting, for one.
    """
    promised = ROWS[row]
    directory().mkdir(parents=True, exist_ok=True)
    kept = {"row": row, "case": case, "promised": promised.seconds, "measured": round(measured, 2)}
    kept |= {"note": note, "on": time.strftime("%Y-%m-%d")}
    (directory() / f"{row}.{case}.json").write_text(json.dumps(kept))
    assert measured <= promised.limit, f"{promised.dies} ({case}): {measured:.1f} s"


def records() -> list[dict[str, str | float]]:
    """All records, by file name."""
    return [json.loads(path.read_text()) for path in sorted(directory().glob("*.json"))]


def table() -> str:
    """The Markdown table: each row with the slowest of its cases, and how many there are."""
    lines = [
        "| dies | recovered by | promised | measured | |",
        "|---|---|---|---|---|",
    ]
    kept = records()
    for name, row in ROWS.items():
        cases = sorted(
            (one for one in kept if one["row"] == name), key=lambda one: -float(one["measured"])
        )
        measured, about = "not measured", ""
        if cases:
            measured = f"{cases[0]['measured']:.1f} s"
            notes = [str(one["note"]) for one in cases if one["note"]]
            worst = [f"worst of {len(cases)}: {cases[0]['case']}"] if len(cases) > 1 else []
            about = "; ".join([*worst, *dict.fromkeys(notes)])
        promised = f"{row.seconds:.0f} s from {row.since}"
        lines.append(f"| {row.dies} | {row.recovered_by} | {promised} | {measured} | {about} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
