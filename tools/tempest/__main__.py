"""`bin/tempest`: a cloud of two hosts, Tempest against it, and what came of it."""

from __future__ import annotations

import argparse
import fcntl
import json
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

from tests.cloud import CHECKOUT
from tools.tempest import configuration, facts, features, hosts, results
from tools.tempest.suite import Suite, SuiteError, environment

HERE = Path(__file__).parent
PASSING, FAST = HERE / "passing.txt", HERE / "fast.txt"
USUAL = r"^tempest\.api\.compute"


def main() -> int:
    given = _arguments()
    given.state.mkdir(parents=True, exist_ok=True)
    # As for an interrupt from the keyboard: whatever was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with (given.state / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return _refuse(f"another run is going on in {given.state}: give --state another one")
        try:
            return _run(given)
        except SuiteError as error:
            return _refuse(str(error))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/tempest", description=__doc__)
    parser.add_argument(
        "regex", nargs="?", default=USUAL, help=f"which tests; {USUAL} unless given"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    parser.add_argument("--list", action="store_true", help="only list the tests")
    parser.add_argument("--fast", action="store_true", help="those of fast.txt, on fake hosts")
    parser.add_argument("--fake", action="store_true", help="on fake hosts: no guests, no root")
    parser.add_argument("--workers", type=int, default=2, help="how many at a time (2)")
    parser.add_argument("--update", action="store_true", help="write passing.txt anew")
    parser.add_argument("--state", type=Path, default=CHECKOUT / "var/tempest", metavar="DIR")
    return parser.parse_args()


def _run(given: argparse.Namespace) -> int:
    suite = Suite(environment(), given.state / "workspace")
    shutil.rmtree(suite.folder, ignore_errors=True)
    suite.prepare()
    tests = suite.tests(given.regex)
    if given.fast:
        wanted = set(_lines(FAST))
        tests = [test for test in tests if results.plain(test) in wanted]
    if given.list:
        print("\n".join(tests))
        return 0
    if not tests:
        return _refuse(f"no test matches {given.regex}")
    directory = given.state / "cloud"
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir()
    real = not (given.fake or given.fast)
    with hosts.cloud(directory, real=real) as made:
        image = hosts.image(directory, real=real)
        about = facts.gather(made, image, len(hosts.NAMES))
        options = configuration.sections(about, suite.folder)
        configuration.write(options, suite.conf)
        left_out = features.left_out(options[features.SECTION])
        chosen = [test for test in tests if results.plain(test) not in left_out]
        print(f"{len(chosen)} tests, microversions to {about.max_microversion}", flush=True)
        ended = suite.run(chosen, given.workers)
    unrun = [
        results.Outcome(name, "skipped", left_out[name]) for name in _plain(tests) & set(left_out)
    ]
    return _judge(given, tests, results.outcomes(chosen, ended) + unrun)


def _judge(given: argparse.Namespace, tests: list[str], found: list[results.Outcome]) -> int:
    if given.update:
        update(PASSING, tests, found, real=not (given.fake or given.fast))
    expected = FAST if given.fast else PASSING
    lost = results.lost(found, _lines(expected), given.regex, tests)
    for one in found:
        if one.status == "failed":
            print(f"\n{one.name}\n{one.text}")
    print(f"\n{results.table(found)}\n\n{results.skips(found)}\n")
    for name in lost:
        print(f"no longer passes: {name}")
    made: dict[str, Any] = results.summary(found, lost)
    if given.json:
        given.json.write_text(json.dumps(made, indent=1) + "\n")
    print("{passed} passed, {failed} failed, {skipped} skipped".format(**made))
    return 1 if made["failed"] or lost else 0


def _plain(tests: list[str]) -> set[str]:
    return set(map(results.plain, tests))


def update(page: Path, tests: list[str], found: list[results.Outcome], *, real: bool) -> None:
    """What was run now counts as now; what was not stays, and what fake hosts cannot do."""
    others = set(_lines(page)) - (_plain(tests) if real else set())
    passed = {one.name for one in found if one.status == "passed"}
    page.write_text("".join(f"{name}\n" for name in sorted(others | passed)))


def _lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


def _refuse(message: str) -> int:
    print(f"tempest: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
