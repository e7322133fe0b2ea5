"""The command: `bin/chaos --help`."""

from __future__ import annotations

import argparse
import json
import signal
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.plan import MUTATIONS, Options
from tests.chaos.run import Report, run

SHOWN_FINDINGS = 25


def parsed(argv: list[str] | None = None) -> tuple[Options, Path | None, bool]:
    """The command line as options, where the JSON goes, and whether to keep everything."""
    parser = argparse.ArgumentParser(
        prog="bin/chaos", description="Drive a cloud of its own while everything is killed."
    )
    parser.add_argument("--minutes", type=float, default=3.0, help="of requests and kills")
    parser.add_argument("--seed", type=int, default=1, help="the same seed is the same plan")
    parser.add_argument("--db", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--broker", choices=("redis", "rabbitmq"), default="redis")
    parser.add_argument("--hosts", default="fake:20", help="fake:N, or real:2 (libvirtds; root)")
    parser.add_argument("--json", type=Path, help="write the counts to this file, too")
    parser.add_argument("--no-chain", action="store_true", help="rows must end by the ring alone")
    parser.add_argument("--mutate", choices=sorted(MUTATIONS), default="", help="must go red")
    parser.add_argument(
        "--wait", type=float, default=330.0, help="seconds at the end until all must have ended"
    )
    parser.add_argument("--keep", action="store_true", help="keep logs, database and hosts")
    given = parser.parse_args(argv)
    kind, _, count = given.hosts.partition(":")
    if kind not in ("fake", "real") or not count.isdigit() or not 2 <= int(count) <= 100:
        parser.error("--hosts is fake:N or real:N, N from 2 to 100")
    if kind == "real" and (given.broker == "rabbitmq" or given.mutate):
        parser.error("real hosts go with --broker redis and without --mutate")
    if kind == "fake" and int(count) < 20:
        parser.error("fake hosts are at least 20: of less, too large a part is away at a time")
    if given.minutes < 1:
        parser.error("--minutes is at least 1: that is one of each kill")
    options = Options(
        minutes=given.minutes,
        seed=given.seed,
        database=given.db,
        broker=given.broker,
        real=kind == "real",
        hosts=int(count),
        chain=not given.no_chain,
        mutate=given.mutate,
        wait=given.wait,
    )
    return options, given.json, given.keep


def show(report: Report, console: Console) -> None:
    """The tables."""
    verdict, options = report.verdict, report.options
    kind = f"{options.hosts} {'real' if options.real else 'fake'} hosts"
    title = f"{kind}, {options.database}, {options.broker}, {options.minutes:g} minutes"
    title += "" if options.chain else ", without the chain"
    title += f", without its safeguard: {options.mutate}" if options.mutate else ""
    counts = Table("", "", title=f"{title}, seed {options.seed}, plan {report.plan}")
    for name, value in verdict.document().items():
        if name not in ("faults", "recovery"):
            counts.add_row(name, str(value))
    counts.add_row("faults", str(verdict.faults.total()))
    counts.add_row("looks at the invariants", str(report.looks))
    counts.add_row("messages stolen", str(report.stolen))
    counts.add_row("seconds until all had ended", f"{verdict.waited:.1f}")
    console.print(counts)
    blows = Table("blow", "times", "longest recovery, s")
    for name, number in sorted(report.blows.items()):
        blows.add_row(name, str(number), f"{verdict.recovery.get(name, 0.0):.1f}")
    console.print(blows)
    for reason, number in verdict.faults.most_common():
        console.print(f"fault, {number} times: {reason}", markup=False)
    for name, number in sorted((report.answers + report.exits).items()):
        console.print(f"{name}: {number}")
    for line in (verdict.findings + report.failures)[:SHOWN_FINDINGS]:
        console.print(line, style="red", markup=False)
    if not report.good:
        console.print(f"everything is kept in {report.directory}", markup=False)


def main(argv: list[str] | None = None) -> int:
    """Run; 0 only when nothing was lost, stuck, leaked, doubled or over-committed."""
    options, target, keep = parsed(argv)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    console = Console(soft_wrap=True)
    report = run(options, lambda text: console.print(text, markup=False), keep)
    show(report, console)
    if target is not None:
        target.write_text(json.dumps(report.verdict.document(), indent=2) + "\n")
    return 0 if report.good else 1


if __name__ == "__main__":
    sys.exit(main())
