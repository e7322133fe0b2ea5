"""novella db and novella host, on a real database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.models import Host
from app.store import hosts_admin, migrations
from app.store.database import make_engine


class Novella:
    """Runs the command with a state directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.url = f"sqlite:///{directory / 'novella.sqlite'}"
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("NOVELLA_", "OS_"))}
        self.environ = {**clean, "NOVELLA_STATE_DIR": str(directory)}

    def __call__(self, *args: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "app.cli", *args]
        return subprocess.run(argv, env=self.environ, capture_output=True, text=True, timeout=60)


@pytest.fixture
def novella(tmp_path: Path) -> Novella:
    return Novella(tmp_path)


def add_host(url: str, name: str) -> None:
    engine = make_engine(url)
    with Session(engine) as session, session.begin():
        session.add(
            Host(
                number=sum(map(ord, name)),
                name=name,
                uuid=f"{name}-uuid",
                session="s",
                state="up",
                vcpus=4,
                ram_mb=8192,
                disk_gb=100,
                cpu_ratio=4.0,
                ram_ratio=1.0,
                disk_ratio=1.0,
            )
        )
    engine.dispose()


def test_the_schema_goes_up_and_down(novella):
    assert novella("db", "current").returncode == 1
    up = novella("db", "upgrade")
    assert (up.returncode, up.stderr) == (0, "")
    assert novella("db", "current").returncode == 0
    assert novella("db", "downgrade", "base").returncode == 0
    current = novella("db", "current")
    assert current.stdout.startswith("base")
    assert "run `novella db upgrade`" in current.stderr


def test_an_unknown_revision_is_one_line(novella):
    failed = novella("db", "upgrade", "nonsense")
    assert failed.returncode == 1
    assert failed.stderr.startswith("Error: Can't locate revision")
    assert failed.stderr.count("\n") == 1


def test_an_empty_database_is_told_apart_from_no_hosts(novella):
    failed = novella("host", "list")
    assert failed.returncode == 1
    assert "no such table" in failed.stderr
    migrations.upgrade(novella.url)
    assert "no host has registered yet" in novella("host", "list").stdout
    assert json.loads(novella("host", "list", "--json").stdout) == []


def test_a_host_is_taken_out_of_use_and_back(novella):
    migrations.upgrade(novella.url)
    add_host(novella.url, "n1")
    assert novella("host", "disable", "n1", "--reason", "new disks").returncode == 0
    (host,) = json.loads(novella("host", "list", "--json").stdout)
    assert (host["name"], host["enabled"], host["disabled_reason"]) == ("n1", False, "new disks")
    assert host["seconds_since_seen"] < 60
    assert "no: new disks" in novella("host", "list").stdout
    assert novella("host", "enable", "n1").returncode == 0
    (host,) = json.loads(novella("host", "list", "--json").stdout)
    assert (host["enabled"], host["disabled_reason"]) == (True, None)


def test_an_unknown_host_is_named_with_those_there_are(novella):
    migrations.upgrade(novella.url)
    add_host(novella.url, "n1")
    failed = novella("host", "disable", "n2")
    assert failed.returncode == 1
    assert failed.stderr == "Error: no host 'n2'; there is n1\n"


def test_the_overview_counts_servers_without_touching_them(tmp_path):
    url = f"sqlite:///{tmp_path / 'x.sqlite'}"
    migrations.upgrade(url)
    add_host(url, "n2")
    add_host(url, "n1")
    engine = make_engine(url)
    with Session(engine.execution_options(reading=True)) as session:
        rows = hosts_admin.overview(session)
    engine.dispose()
    assert [(row["name"], row["servers"], row["state"]) for row in rows] == [
        ("n1", 0, "up"),
        ("n2", 0, "up"),
    ]
