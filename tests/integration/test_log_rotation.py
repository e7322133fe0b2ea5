"""supervisord rotates a process's log under it: nothing is lost, and nobody has to reopen."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from app.cli.local.files import write_private
from app.cli.local.place import Place
from app.cli.local.programs import Program, environment, render
from app.cli.local.supervisor import Supervisor
from tests.cloud import eventually

LINES = 900
TALKER = f"""
import sys, time
for number in range({LINES}):
    stream = sys.stderr if number % 2 else sys.stdout
    print(f"line {{number:06}} " + "x" * 40, file=stream, flush=True)
    time.sleep(0.001)
time.sleep(60)
"""


def test_a_log_is_rotated_while_its_process_writes_on(tmp_path: Path):
    place = Place(tmp_path, Path(tempfile.mkdtemp(prefix="nv-")))
    place.logs.mkdir()
    config = render(place, [Program("web", [sys.executable, "-c", TALKER])])
    assert config.count("stdout_logfile_maxbytes = 20MB") == 1
    write_private(place.supervisor_config, config.replace("20MB", "16KB"))
    supervisor = Supervisor(place)
    supervisor.launch(environment(place, os.environ))
    try:
        supervisor.start("web")
        last = f"line {LINES - 1:06}"
        eventually(lambda: last in (place.logs / "web.log").read_text(), 30, "all is written")
        (process,) = supervisor.processes()
        assert process.state in ("STARTING", "RUNNING")
    finally:
        supervisor.shutdown(30)
    files = sorted(place.logs.glob("web.log*"), key=lambda path: path.name, reverse=True)
    assert [path.name for path in files] == ["web.log.2", "web.log.1", "web.log"]
    assert all(path.stat().st_size < 20_000 for path in files)
    whole = "".join(path.read_text() for path in files)
    written = [line.split()[1] for line in whole.splitlines()]
    assert written == [f"{number:06}" for number in range(LINES)]
