"""OpenStack's own integration suite, the fastest of it, on a cloud of two fake hosts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud import CHECKOUT
from tools.tempest.suite import SuiteError, environment

FAST = (CHECKOUT / "tools/tempest/fast.txt").read_text().split()


@pytest.mark.timeout(600)
def test_the_fast_ones_of_tempest_pass(tmp_path: Path) -> None:
    try:
        environment()
    except SuiteError as missing:
        pytest.fail(str(missing))
    found = tmp_path / "found.json"
    done = subprocess.run(
        [sys.executable, "-m", "tools.tempest", "--fast", "--json", found, "--state", tmp_path],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=550,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    told = json.loads(found.read_text())
    assert (told["failed"], told["lost"]) == (0, [])
    assert told["passed"] == len(FAST) >= 60
