"""bin/up and bin/down with the fake driver: real processes, no libvirt, no root needed."""

from __future__ import annotations

import os
import signal
import socket
import stat
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
import yaml

from app.cli.local.place import find_place
from app.cli.local.supervisor import Supervisor
from tests.cloud import allowed, eventually, free_port
from tests.local_cloud import Local

NAMES = ("redis", "web", "scheduler", "host", "flower")


@pytest.fixture
def local(tmp_path: Path) -> Iterator[Local]:
    made = Local(tmp_path)
    yield made
    made.down()
    assert made.ours() == []


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A cloud for the tests that leave it as they found it."""
    made = Local(tmp_path_factory.mktemp("running"))
    done = made.up()
    assert done.returncode == 0, done.stderr
    yield made
    made.down()
    assert made.ours() == []


def test_up_again_down_and_up_again(local):
    first = local.up()
    assert first.returncode == 0, first.stderr
    assert "a new cloud in" in first.stdout
    assert "the cloud is up" in first.stdout
    assert f"its passwords are kept in {local.state / 'clouds.yaml'}" in first.stdout
    secrets = [path.read_text().strip() for path in (local.state / "secrets").iterdir()]
    assert not any(secret in first.stdout + first.stderr for secret in secrets)
    assert local.healthy()
    before = local.processes()
    assert {name: state for name, (state, _) in before.items()} == dict.fromkeys(NAMES, "RUNNING")
    files = [local.state / "novella.toml", local.state / "clouds.yaml"]
    kept = {path: path.read_bytes() for path in files}

    began = time.monotonic()
    again = local.up()
    assert (again.returncode, time.monotonic() - began < allowed(10)) == (0, True), again.stderr
    assert "already up, nothing changed" in again.stdout
    assert local.processes() == before
    assert {path: path.read_bytes() for path in kept} == kept

    down = local.down()
    assert down.returncode == 0, down.stderr
    assert local.ours() == []
    twice = local.down()
    assert (twice.returncode, twice.stdout) == (0, "already down\n")
    status = local.novella("up", "--status")
    assert (status.returncode, "is down" in status.stdout) == (1, True)

    third = local.up()
    assert third.returncode == 0, third.stderr
    assert "a new cloud" not in third.stdout
    assert {path: path.read_bytes() for path in kept} == kept


def test_files_with_secrets_are_private(running):
    private = [
        running.state / "clouds.yaml",
        running.state / "novella.toml",
        running.state / "novella.sqlite",
        running.state / "supervisord.conf",
        *(running.state / "secrets").iterdir(),
        *(running.state / "run").iterdir(),
    ]
    assert {stat.S_IMODE(path.stat().st_mode) for path in private} == {0o600}
    assert stat.S_IMODE(running.state.stat().st_mode) == 0o700


@pytest.mark.parametrize("cloud", ["novella", "novella-admin"])
def test_the_credentials_work(running, cloud):
    auth = yaml.safe_load((running.state / "clouds.yaml").read_text())["clouds"][cloud]["auth"]
    user = {"name": auth["username"], "password": auth["password"], "domain": {"id": "default"}}
    body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}}}
    answer = requests.post(f"{auth['auth_url']}/v3/auth/tokens", json=body, timeout=10)
    assert answer.status_code == 201
    assert running.novella("task", "list", "--cloud", cloud).stdout == "no tasks\n"


def test_no_secret_is_on_a_command_line_or_in_a_log(running):
    secrets = [path.read_text().strip() for path in (running.state / "secrets").iterdir()]
    commands = [" ".join(process.cmdline()) for process in running.ours()]
    logs = [path.read_text(errors="replace") for path in (running.state / "log").iterdir()]
    assert len(secrets) == 4
    assert len(commands) >= len(NAMES)
    for secret in secrets:
        assert not any(secret in text for text in [*commands, *logs])


def test_flower_shows_all_and_controls_nothing(running):
    url = f"http://127.0.0.1:{running.flower_port}"
    auth = ("novella", (running.state / "secrets/flower-password").read_text().strip())
    for path in ("/", "/tasks", "/metrics", "/api/workers"):
        assert requests.get(url + path, timeout=10).status_code == 401
        assert requests.get(url + path, timeout=10, auth=auth).status_code == 200

    def workers() -> dict[str, object]:
        return requests.get(f"{url}/api/workers?refresh=1", timeout=10, auth=auth).json()

    eventually(lambda: len(workers()) == 2, 30)
    for worker in workers():
        answer = requests.post(f"{url}/api/worker/shutdown/{worker}", timeout=10, auth=auth)
        assert answer.status_code == 403
    answer = requests.post(f"{url}/api/task/async-apply/novella.build", timeout=10, auth=auth)
    assert answer.status_code == 403


def test_what_somebody_stopped_is_started(running):
    supervisor = Supervisor(find_place({"NOVELLA_STATE_DIR": str(running.state)}))
    supervisor.stop("scheduler")
    eventually(lambda: running.processes()["scheduler"][1] == 0, 30)
    again = running.up()
    assert again.returncode == 0, again.stderr
    assert "started scheduler" in again.stdout
    assert "nothing changed" not in again.stdout


def test_a_change_of_a_running_cloud_is_refused(running):
    failed = running.up(NOVELLA_PORT=str(free_port()))
    assert failed.returncode == 1
    assert f"the cloud is up with port = {running.port}" in failed.stderr


def test_two_clouds_side_by_side(running, tmp_path):
    before = running.processes()
    other = Local(tmp_path)
    try:
        second = other.up()
        assert second.returncode == 0, second.stderr
        assert other.healthy()
    finally:
        assert other.down().returncode == 0
    assert other.ours() == []
    assert running.processes() == before
    assert running.healthy()


def test_every_process_is_started_again_when_it_dies(running):
    before = running.processes()
    for _, pid in before.values():
        os.kill(pid, signal.SIGKILL)

    def back() -> bool:
        now = running.processes()
        return all(now[n][0] == "RUNNING" and now[n][1] != before[n][1] for n in NAMES)

    eventually(back, 60, "every process is back")
    eventually(running.healthy, 30)
    eventually(lambda: running.novella("status").returncode == 0, 60)


def test_a_killed_supervisor_leaves_nothing_behind(running):
    running.supervisord().kill()
    eventually(lambda: running.ours() == [], 30)
    assert running.novella("up", "--status").returncode == 1
    again = running.up()
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


def test_a_process_that_cannot_start_is_shown_with_its_log(local):
    failed = local.up(NOVELLA_LOG_FORMAT="xml")
    assert failed.returncode == 1
    assert "does not stay up" in failed.stderr
    assert "setting log_format" in failed.stderr


def test_down_without_a_cloud_is_fine(local):
    done = local.down()
    assert (done.returncode, "no cloud in" in done.stdout) == (0, True)
