"""`bin/fuzz`: a cloud of two fake hosts, thousands of made-up requests, and what came of them."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from tests.cloud import CHECKOUT, Cloud, running
from tests.templates import PASSWORDS
from tools.fuzz.tally import is_good, told

HOSTS = ("h1", "h2")
USUAL = 6000
# Requests take about 50 ms each, made up and answered; a busy machine takes its time.
SECONDS_EACH, SECONDS_MORE = 1.0, 600


def main() -> int:
    given = _arguments()
    # As for an interrupt from the keyboard: whatever was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    folder = environment()
    python = folder / "bin/python"
    if not python.exists():
        print(f"fuzz: Schemathesis is not in {folder}: run bin/setup --fuzz", file=sys.stderr)
        return 2
    with TemporaryDirectory(prefix="novella-fuzz-") as directory:
        found = _run(given, python, Path(directory))
    if found is None:
        return 2
    print(told(found))
    print(f"seed                {given.seed}")
    if given.json:
        given.json.write_text(json.dumps(found, indent=1) + "\n")
    return 0 if is_good(found) else 1


def environment() -> Path:
    """Where bin/setup --fuzz puts Schemathesis."""
    return Path(os.environ.get("NOVELLA_FUZZ_VENV") or CHECKOUT / ".venv-fuzz")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="bin/fuzz", description=__doc__)
    parser.add_argument("--requests", type=int, default=USUAL, metavar="N", help=f"({USUAL})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the results there, too")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6), help="of the requests")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep the processes' logs there")
    return parser.parse_args()


def _run(given: argparse.Namespace, python: Path, directory: Path) -> dict[str, Any] | None:
    results = directory / "results.json"
    cloud = Cloud(directory, settings={"cpu_ratio": "64", "inventory_seconds": "120"})
    with running(cloud):
        cloud.start_web()
        cloud.start_control()
        for name in HOSTS:
            cloud.start_host(name)
        cloud.hosts_up(*HOSTS, seconds=90)
        root = f"http://127.0.0.1:{cloud.web_port}"
        subprocess.run(
            [
                python,
                "-m",
                "tools.fuzz.attack",
                root,
                str(given.requests),
                str(given.seed),
                results,
            ],
            cwd=CHECKOUT,
            env={**os.environ, "FUZZ_PASSWORD": PASSWORDS["admin"]},
            timeout=given.requests * SECONDS_EACH + SECONDS_MORE,
        )
        if given.keep:
            given.keep.mkdir(parents=True, exist_ok=True)
            for log in directory.glob("*.log"):
                (given.keep / log.name).write_bytes(log.read_bytes())
    return json.loads(results.read_text()) if results.exists() else None


if __name__ == "__main__":
    sys.exit(main())
