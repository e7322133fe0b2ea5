"""A short run of `bin/fuzz`: made-up requests over all operations, on a cloud of two fake hosts."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud import CHECKOUT
from tools.fuzz.__main__ import environment


@pytest.mark.timeout(600)
def test_made_up_requests_of_every_role_get_documented_answers_and_no_5xx(tmp_path: Path) -> None:
    if not (environment() / "bin/python").exists():
        pytest.fail(f"Schemathesis is not in {environment()}: run bin/setup --fuzz")
    results = tmp_path / "found.json"
    command = [sys.executable, "-m", "tools.fuzz", "--requests", "300", "--seed", "1"]
    done = subprocess.run(
        [*command, "--json", results], cwd=CHECKOUT, capture_output=True, text=True, timeout=550
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    found = json.loads(results.read_text())
    assert found["requests"] >= 300
    assert (found["server_errors"], found["undocumented"]) == ([], [])
    assert found["actions_missed"] == []
    assert len(found["actions"]) >= 24
    assert set(found["roles"]) == {"admin", "manager", "member", "reader", "service"}
