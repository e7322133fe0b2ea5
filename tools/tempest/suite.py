"""Tempest itself: its environment, a workspace with our tempest.conf, listing and running."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.cloud import CHECKOUT

READER = Path(__file__).with_name("subunit_reader.py")
LISTING_SECONDS = 300
PYTHON = "python"
# The whole of tempest.api.compute takes well under an hour on two cores.
RUN_SECONDS = 3 * 3600


class SuiteError(Exception):
    """Tempest could not be started; the message says what to do."""


def environment() -> Path:
    """Where bin/setup --tempest puts Tempest. Raises SuiteError when it is not there."""
    found = Path(os.environ.get("NOVELLA_TEMPEST_VENV") or CHECKOUT / ".venv-tempest")
    if not (found / "bin/stestr").exists():
        raise SuiteError(f"Tempest is not in {found}: run bin/setup --tempest")
    return found


def end(process: subprocess.Popen[bytes], patience: float = 30.0) -> None:
    """End a process, by force when it takes longer than `patience` seconds."""
    process.terminate()
    try:
        process.wait(patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@dataclass(frozen=True)
class Suite:
    """A workspace: stestr's settings and `etc/tempest.conf` in `folder`."""

    venv: Path
    folder: Path

    @property
    def conf(self) -> Path:
        """Where tempest.conf is."""
        return self.folder / "etc/tempest.conf"

    def prepare(self) -> None:
        """Make the workspace, without a tempest.conf yet."""
        for name in ("etc", "locks"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        packages = next((self.venv / "lib").glob("python3*")) / "site-packages"
        (self.folder / ".stestr.conf").write_text(
            f"[DEFAULT]\ntest_path={packages}/tempest/test_discover\ntop_dir={packages}\n"
            "group_regex=([^\\.]*\\.)*\n"  # the tests of one class share what its setup made
        )
        # stestr hands its Python to a shell, unquoted: a path with a space would not survive.
        python = self.folder / PYTHON
        python.write_text(f'#!/bin/sh\nexec {shlex.quote(str(self.venv / "bin/python"))} "$@"\n')
        python.chmod(0o755)
        self._stestr("init")

    def tests(self, regex: str) -> list[str]:
        """The ids of all tests that match. Raises SuiteError when Tempest cannot be read."""
        listed = self._stestr("list", regex).splitlines()
        return [line for line in listed if line.startswith("tempest.")]

    def run(self, tests: Collection[str], workers: int) -> list[dict[str, Any]]:
        """Run these tests, printing a line for each; what `subunit_reader` found."""
        chosen, results = self.folder / "chosen.txt", self.folder / "results.json"
        chosen.write_text("".join(f"{one}\n" for one in tests))
        results.unlink(missing_ok=True)
        argv = [self.venv / "bin/stestr", "run", "--subunit", "--concurrency", str(workers)]
        with (self.folder / "stestr.err").open("wb") as errors:
            running = subprocess.Popen(
                [*argv, "--load-list", chosen],
                **self._where(),
                stdout=subprocess.PIPE,
                stderr=errors,
            )
            try:
                subprocess.run(
                    [self.venv / "bin/python", READER, results],
                    stdin=running.stdout,
                    timeout=RUN_SECONDS,
                    check=True,
                )
            finally:
                end(running)
        return list(json.loads(results.read_text()))

    def _stestr(self, *args: str) -> str:
        done = subprocess.run(
            [self.venv / "bin/stestr", *args],
            **self._where(),
            capture_output=True,
            text=True,
            timeout=LISTING_SECONDS,
        )
        if done.returncode:
            raise SuiteError(f"stestr {' '.join(args)}: {(done.stderr or done.stdout)[-2000:]}")
        return done.stdout

    def _where(self) -> dict[str, Any]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("OS_", "NOVELLA_"))}
        own = {"TEMPEST_CONFIG_DIR": str(self.folder / "etc"), "PYTHONWARNINGS": "ignore"}
        own["PYTHON"] = f"./{PYTHON}"
        return {"cwd": self.folder, "env": clean | own}
