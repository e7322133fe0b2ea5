"""Looking, looking again, healing, and looking once more."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.exc import IntegrityError

from app.cli.doctor import addresses, capacity, evidence, guests, hosts, software, work
from app.cli.doctor.evidence import Evidence
from app.cli.doctor.finding import Finding
from app.cli.doctor.images import SMALL, ImageCheck
from app.errors import NovellaError
from app.store import database, migrations

SECOND_LOOK_SECONDS = 3.0
"""Longer than a message takes: what is found twice is not just on its way."""
ROUNDS = 3
"""Healing one thing may show another: sums follow claims."""


@dataclass(frozen=True)
class Report:
    """What is wrong, and what could not be looked at."""

    findings: Sequence[Finding]
    notes: Sequence[str] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing is wrong; warnings do not count."""
        return all(one.warning for one in self.findings)


class Examination:
    """One run of the doctor."""

    def __init__(self, images: ImageCheck) -> None:
        self._images = images

    def examine(self) -> Report:
        """What two looks, some seconds apart, both find. Raises Unavailable."""
        if not migrations.is_current():
            text = "is not that of this release, so nothing else was looked at"
            todo = "run `novella db upgrade` (after `novella backup`)"
            return Report([Finding("schema", "the database's schema", text, todo)])
        first = self._look()
        if not first.findings:
            return first
        time.sleep(SECOND_LOOK_SECONDS)
        second = self._look()
        before = {one.key for one in first.findings}
        return Report([one for one in second.findings if one.key in before], second.notes)

    def heal(self, found: Report, tell: Callable[[str], None]) -> Report:
        """Heal what is safe, each in a transaction of its own; what is found afterwards."""
        for _ in range(ROUNDS):
            healed = [one for one in found.findings if _healed(one, tell)]
            found = self.examine()
            if not healed:
                break
        return found

    def _look(self) -> Report:
        seen = evidence.gather()
        checks = (hosts, software, work, capacity, guests, addresses, self._images)
        findings = [one for check in checks for one in check.check(seen)]
        return Report(findings, self._notes(seen))

    def _notes(self, seen: Evidence) -> list[str]:
        notes = []
        if self._images.skipped:
            mib = SMALL >> 20
            notes.append(
                f"{self._images.skipped} images above {mib} MiB were not summed: use --deep"
            )
        compared = {host for host, _, _ in seen.compared()}
        if left := [row.name for row in seen.rows.hosts if row.name not in compared]:
            notes.append(f"guests were not compared on: {', '.join(left)}")
        if seen.posted is not None:
            kept = "on" if seen.posted.server.get("aof_enabled") else "off"
            notes.append(f"Redis' append-only file is {kept}; either will do")
        return notes


def _healed(finding: Finding, tell: Callable[[str], None]) -> bool:
    if finding.fix is None:
        return False
    try:
        with database.transaction() as session:
            done = finding.fix.heal(session)
    except (NovellaError, IntegrityError) as error:
        # What another finding's healing puts right first is tried again in the next round.
        reason = str(getattr(error, "orig", error)).partition("\n")[0]
        tell(f"not healed: {finding.subject}: {reason}")
        return False
    if done:
        tell(f"healed: {finding.subject}: {finding.fix.words}")
    return done
