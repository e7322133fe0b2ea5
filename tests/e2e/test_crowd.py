"""Two hundred clients at once, for five minutes: see `bench/crowd.py`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cloud import CHECKOUT


@pytest.mark.full
@pytest.mark.timeout(900)
@pytest.mark.parametrize("db", ["sqlite", "postgresql"])
def test_a_crowd_is_served_without_a_5xx_a_lock_timeout_or_growing_memory(
    db: str, tmp_path: Path
) -> None:
    told = tmp_path / "crowd.json"
    run = subprocess.run(
        [sys.executable, "-m", "bench.crowd", "--db", db, "--json", str(told)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=880,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    result = json.loads(told.read_text())
    assert result["clients"] == 200
    assert result["answers"]["POST 202"] > 1000
    first, second = result["web MiB, 1st half"], result["web MiB, 2nd half"]
    assert second < first * 1.1, "web's memory grows"
