"""Passwords are shown to the person who makes the cloud, once, and to nobody else."""

from __future__ import annotations

import os
import pty
import stat
import subprocess
import sys
import threading
from pathlib import Path

from tests.local_cloud import FAKE, Local


def on_a_terminal(local: Local) -> str:
    """What `bin/up` shows to a person."""
    ours, theirs = pty.openpty()
    shown: list[bytes] = []

    def read() -> None:
        try:
            while chunk := os.read(ours, 4096):
                shown.append(chunk)
        except OSError:
            pass  # the terminal's other end is closed

    reader = threading.Thread(target=read)
    reader.start()
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("NOVELLA_", "OS_"))}
    given = {
        "NOVELLA_STATE_DIR": str(local.state),
        "NOVELLA_PORT": str(local.port),
        "NOVELLA_FLOWER_PORT": str(local.flower_port),
        "NOVELLA_HOST_NAME": local.host,
        "NOVELLA_DRIVER": FAKE,
        "TERM": "dumb",
    }
    argv = [sys.executable, "-m", "app.cli", "up", "--no-guest"]
    done = subprocess.run(argv, env=clean | given, stdout=theirs, stderr=theirs, timeout=200)
    os.close(theirs)
    reader.join(10)
    os.close(ours)
    text = b"".join(shown).decode()
    assert done.returncode == 0, text
    return text


def passwords(local: Local) -> dict[str, str]:
    names = ("novella", "admin", "flower")
    return {n: (local.state / "secrets" / f"{n}-password").read_text().strip() for n in names}


def test_a_person_sees_them_at_the_first_start_and_never_again(tmp_path: Path):
    local = Local(tmp_path)
    try:
        first = on_a_terminal(local)
        for name, password in passwords(local).items():
            assert any(line.split() == [name, password] for line in first.splitlines()), name
        assert "clouds.yaml" in first
        assert stat.S_IMODE((local.state / "clouds.yaml").stat().st_mode) == 0o600
        again = on_a_terminal(local)
        local.down()
        third = on_a_terminal(local)
        logs = [path.read_text(errors="replace") for path in (local.state / "log").iterdir()]
        for password in passwords(local).values():
            assert not any(password in text for text in (again, third, *logs))
    finally:
        local.down()
        assert local.ours() == []
