"""Chaos in small: fixed seeds, fake hosts, every kind of kill; bin/chaos has the long runs."""

from __future__ import annotations

import pytest

from tests.chaos.plan import Options
from tests.chaos.run import Report, run

MOST_FAULTS = 0.05


def judged(options: Options) -> Report:
    """The report of a run, which must be without findings."""
    report = run(options, print)
    verdict = report.verdict
    assert report.good, "\n".join([str(report.directory), *verdict.findings, *report.failures])
    assert verdict.ended + verdict.faults.total() == verdict.accepted
    assert verdict.faults.total() <= MOST_FAULTS * verdict.accepted, verdict.faults
    return report


@pytest.mark.timeout(420)
def test_two_minutes_of_kills_lose_no_request() -> None:
    report = judged(Options(minutes=2, seed=4, wait=90))
    assert min(report.blows.values()) == 2, report.blows
    assert report.verdict.accepted > 300


@pytest.mark.full
@pytest.mark.timeout(420)
def test_with_the_chain_off_every_row_ends_by_the_ring_alone() -> None:
    report = judged(Options(minutes=1, seed=5, chain=False, wait=90))
    assert report.verdict.accepted > 50
