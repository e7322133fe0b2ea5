"""bin/up and bin/down with the fake driver: real processes, no libvirt, no root needed."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
import requests
import yaml

from app.cli.local.place import find_place
from app.cli.local.supervisor import Supervisor

NAMES = ("redis", "web", "scheduler", "host", "flower")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class Local:
    """One cloud of bin/up, in a state directory with a space in its name."""

    state: Path
    port: int
    flower_port: int

    def run(self, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("NOVELLA_", "OS_"))}
        given = {
            "NOVELLA_STATE_DIR": str(self.state),
            "NOVELLA_PORT": str(self.port),
            "NOVELLA_FLOWER_PORT": str(self.flower_port),
            "NOVELLA_DRIVER": "app.virt.fake:FakeDriver",
            "NOVELLA_HOST_NAME": "n1",
        }
        argv = [sys.executable, "-m", "app.cli", *args]
        env = {**clean, **given, **environ}
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=200)

    def up(self, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.run("up", "--no-guest", **environ)

    def processes(self) -> dict[str, tuple[str, int]]:
        """Name → (state, pid) as `up --status` prints them."""
        lines = self.run("up", "--status").stdout.splitlines()
        rows = [line.split() for line in lines if line.split() and line.split()[0] in NAMES]
        return {row[0]: (row[1], int(row[2]) if row[2] != "-" else 0) for row in rows}

    def get(self, path: str, **kwargs: object) -> requests.Response:
        url = f"http://127.0.0.1:{self.port}{path}"
        return requests.get(url, timeout=10, **kwargs)  # type: ignore[arg-type]

    def healthy(self) -> bool:
        """Whether the API answers."""
        try:
            return self.get("/healthz").ok
        except requests.ConnectionError:
            return False

    def ours(self) -> list[psutil.Process]:
        """Every process that reads this cloud's settings."""
        config = str(self.state / "novella.toml")
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("NOVELLA_CONFIG") == config:
                    found.append(process)
            except psutil.Error:
                continue
        return found


def make(directory: Path) -> Local:
    return Local(directory / "a state", free_port(), free_port())


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    made = make(tmp_path)
    yield made
    made.run("down")
    assert made.ours() == []


def eventually(check, seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not check():
        assert time.monotonic() < deadline, f"not within {seconds} s"
        time.sleep(0.2)


def test_up_again_down_and_up_again(local):
    first = local.up()
    assert first.returncode == 0, first.stderr
    assert "a new cloud in" in first.stdout
    assert "the cloud is up" in first.stdout
    assert local.healthy()
    before = local.processes()
    assert {name: state for name, (state, _) in before.items()} == dict.fromkeys(NAMES, "RUNNING")
    kept = {
        path: path.read_bytes()
        for path in [*local.state.glob("*.toml"), local.state / "clouds.yaml"]
    }

    began = time.monotonic()
    again = local.up()
    assert (again.returncode, time.monotonic() - began < 10) == (0, True), again.stderr
    assert "already up, nothing changed" in again.stdout
    assert local.processes() == before
    assert {path: path.read_bytes() for path in kept} == kept

    down = local.run("down")
    assert down.returncode == 0, down.stderr
    assert local.ours() == []
    twice = local.run("down")
    assert (twice.returncode, twice.stdout) == (0, "already down\n")
    status = local.run("up", "--status")
    assert (status.returncode, "is down" in status.stdout) == (1, True)

    third = local.up()
    assert third.returncode == 0, third.stderr
    assert "a new cloud" not in third.stdout
    assert {path: path.read_bytes() for path in kept} == kept


def test_secrets_are_private_and_work(local):
    assert local.up().returncode == 0
    private = [
        local.state / "clouds.yaml",
        local.state / "novella.toml",
        local.state / "novella.sqlite",
        local.state / "supervisord.conf",
        *(local.state / "secrets").iterdir(),
        *(local.state / "run").iterdir(),
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert stat.S_IMODE(local.state.stat().st_mode) == 0o700
    for cloud in ("novella", "novella-admin"):
        auth = yaml.safe_load((local.state / "clouds.yaml").read_text())["clouds"][cloud]["auth"]
        user = {"name": auth["username"], "password": auth["password"], "domain": {"id": "default"}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
        answer = requests.post(f"{auth['auth_url']}/v3/auth/tokens", json=body, timeout=10)
        assert answer.status_code == 201
    secrets = [path.read_text().strip() for path in (local.state / "secrets").iterdir()]
    commands = [" ".join(process.cmdline()) for process in local.ours()]
    logs = [path.read_text(errors="replace") for path in (local.state / "log").iterdir()]
    assert len(commands) >= len(NAMES)
    for secret in secrets:
        assert not any(secret in text for text in [*commands, *logs])


def test_flower_shows_all_and_controls_nothing(local):
    assert local.up().returncode == 0
    url = f"http://127.0.0.1:{local.flower_port}"
    auth = ("novella", (local.state / "secrets/flower-password").read_text().strip())
    for path in ("/", "/tasks", "/metrics", "/api/workers"):
        assert requests.get(url + path, timeout=10).status_code == 401
        assert requests.get(url + path, timeout=10, auth=auth).status_code == 200
    workers = lambda: requests.get(f"{url}/api/workers?refresh=1", timeout=10, auth=auth).json()  # noqa: E731
    eventually(lambda: len(workers()) == 2)
    for worker in workers():
        answer = requests.post(f"{url}/api/worker/shutdown/{worker}", timeout=10, auth=auth)
        assert answer.status_code == 403
    answer = requests.post(f"{url}/api/task/async-apply/novella.build", timeout=10, auth=auth)
    assert answer.status_code == 403


def test_every_process_is_started_again_when_it_dies(local):
    assert local.up().returncode == 0
    before = local.processes()
    for _, pid in before.values():
        os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        now = local.processes()
        return all(now[n][0] == "RUNNING" and now[n][1] != before[n][1] for n in NAMES)

    eventually(back, 60)
    eventually(local.healthy)
    eventually(lambda: local.run("status").returncode == 0, 60)


def test_what_somebody_stopped_is_started(local):
    assert local.up().returncode == 0
    supervisor = Supervisor(find_place({"NOVELLA_STATE_DIR": str(local.state)}))
    supervisor.stop("scheduler")
    eventually(lambda: local.processes()["scheduler"][1] == 0)
    again = local.up()
    assert again.returncode == 0, again.stderr
    assert "started scheduler" in again.stdout
    assert "nothing changed" not in again.stdout


def test_a_killed_supervisor_leaves_nothing_behind(local):
    assert local.up().returncode == 0
    (supervisord,) = [p for p in local.ours() if "supervisor.supervisord" in " ".join(p.cmdline())]
    supervisord.kill()
    eventually(lambda: local.ours() == [])
    again = local.up()
    assert again.returncode == 0, again.stderr


def test_a_taken_port_is_named_before_anything_starts(local):
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", local.port))
        holder.listen()
        failed = local.up()
        assert failed.returncode == 1
        assert f"port {local.port} of 127.0.0.1 is taken by process {os.getpid()}" in failed.stderr
        assert "NOVELLA_PORT" in failed.stderr
    assert local.ours() == []
    assert local.up().returncode == 0


def test_a_change_of_a_running_cloud_is_refused(local):
    assert local.up().returncode == 0
    failed = local.up(NOVELLA_PORT=str(free_port()))
    assert failed.returncode == 1
    assert f"the cloud is up with port = {local.port}" in failed.stderr


def test_two_clouds_side_by_side(local, tmp_path):
    (tmp_path / "other").mkdir()
    other = make(tmp_path / "other")
    assert local.up().returncode == 0
    try:
        second = other.up()
        assert second.returncode == 0, second.stderr
        before = local.processes()
    finally:
        assert other.run("down").returncode == 0
    assert other.ours() == []
    assert local.processes() == before
    assert local.healthy()


def test_a_process_that_cannot_start_is_shown_with_its_log(local):
    failed = local.up(NOVELLA_LOG_FORMAT="xml")
    assert failed.returncode == 1
    assert "does not stay up" in failed.stderr
    assert "setting log_format" in failed.stderr


def test_down_without_a_cloud_is_fine(local):
    done = local.run("down")
    assert (done.returncode, "no cloud in" in done.stdout) == (0, True)
