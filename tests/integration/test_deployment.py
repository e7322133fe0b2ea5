"""docker-compose.yml, its Dockerfiles and the systemd units: their own commands, really run.

No container engine is needed: each command runs here, with the containers' names, ports and paths
replaced by this machine's.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import stat
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from tests.cloud import CHECKOUT, FAKE, eventually, free_port
from tests.http_client import Client
from tests.postgres import BINARIES, fresh_database

COMPOSE = CHECKOUT / "docker-compose.yml"
UNITS = sorted((CHECKOUT / "deploy/systemd").glob("*.service"))
DOCKERFILES = sorted((CHECKOUT / "deploy/docker").glob("*.Dockerfile"))
SCRIPTS = Path(sys.executable).parent
OPT = "/opt/novella/bin/"
NAMES = ("redis", "init", "web", "scheduler", "host", "flower")


@dataclass
class Containers:
    """docker-compose.yml's services as processes."""

    directory: Path
    services: dict[str, Any]
    replaced: dict[str, str]
    ports: dict[str, int]
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def words(self, name: str) -> list[str]:
        """The service's command, on this machine."""
        service = self.services[name]
        words = [*service.get("entrypoint", []), *service.get("command", [])]
        return [self._here(word, name) for word in words]

    def env(self, name: str) -> dict[str, str]:
        """The service's environment, on this machine."""
        given = self.services[name].get("environment", {})
        env = {k: v for k, v in os.environ.items() if not k.startswith(("NOVELLA_", "FLOWER_"))}
        env |= {key: self._here(str(value), name) for key, value in given.items()}
        mine = {"NOVELLA_BIND": "127.0.0.1", "NOVELLA_PORT": str(self.ports["web"])}
        mine |= {"NOVELLA_DRIVER": FAKE, "NOVELLA_BEAT_SECONDS": "1"}
        return env | mine | {"PATH": f"{SCRIPTS}:{BINARIES[-1]}:{os.environ['PATH']}"}

    def _here(self, text: str, name: str) -> str:
        state = "host" if name == "host" else "control"
        text = text.replace("/var/lib/novella", str(self.directory / state))
        for theirs, ours in self.replaced.items():
            text = text.replace(theirs, ours)
        return text

    def start(self, name: str) -> None:
        """Start the service; its output goes to a file."""
        with (self.directory / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                self.words(name), env=self.env(name), cwd=self.directory, stdout=log, stderr=log
            )

    def run(self, name: str) -> subprocess.CompletedProcess[str]:
        """Run the service's command to its end."""
        return subprocess.run(
            self.words(name),
            env=self.env(name),
            cwd=self.directory,
            capture_output=True,
            text=True,
            timeout=120,
        )

    def healthy(self, name: str) -> bool:
        """Whether the service's own health check passes."""
        kind, *words = [self._here(word, name) for word in self.check(name)]
        argv = ["sh", "-c", words[0].replace("$$", "$")] if kind == "CMD-SHELL" else words
        if argv[0] == "pg_isready":
            argv += ["-p", str(self.ports["postgresql"])]
        done = subprocess.run(
            argv, env=self.env(name), cwd=self.directory, capture_output=True, timeout=60
        )
        return done.returncode == 0

    def check(self, name: str) -> list[str]:
        """The service's health check, as the file has it."""
        return list(self.services[name]["healthcheck"]["test"])

    def log(self, name: str) -> str:
        """What the service has said."""
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def stop(self) -> None:
        """As the engine does it: SIGTERM, and patience."""
        for process in reversed(self.processes.values()):
            process.send_signal(signal.SIGTERM)
        for process in self.processes.values():
            process.wait(60)


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    """docker-compose.yml's services, as docker-compose reads them."""
    if shutil.which("docker-compose") is None:
        pytest.skip("docker-compose is not installed: bin/setup")
    done = subprocess.run(
        ["docker-compose", "-f", str(COMPOSE), "config"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=CHECKOUT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found: dict[str, Any] = yaml.safe_load(done.stdout)["services"]
    return found


@pytest.fixture(scope="module")
def containers(
    services: dict[str, Any], tmp_path_factory: pytest.TempPathFactory, postgres: str
) -> Iterator[Containers]:
    """All services, started in the order that they depend on each other."""
    directory = tmp_path_factory.mktemp("compose")
    secrets = directory / "secrets"
    subprocess.run([CHECKOUT / "deploy/make-secrets", secrets], check=True, timeout=30)
    database = fresh_database(postgres, f"compose{uuid.uuid4().hex[:8]}")
    ports = {"redis": free_port(), "web": free_port(), "flower": free_port()}
    ports["postgresql"] = int(database.rpartition(":")[2].partition("/")[0])
    _rewrite(secrets / "database_url", lambda _: database)
    _rewrite(
        secrets / "broker_url", lambda t: t.replace("redis:6379", f"127.0.0.1:{ports['redis']}")
    )
    _rewrite(secrets / "redis_conf", lambda t: f"{t}port {ports['redis']}\nbind 127.0.0.1\n")
    replaced = {
        "/run/secrets": str(secrets),
        "redis-cli": f"redis-cli -p {ports['redis']}",
        "http://web:8774": f"http://127.0.0.1:{ports['web']}",
        "--port=5555": f"--port={ports['flower']}",
        "127.0.0.1:5555": f"127.0.0.1:{ports['flower']}",
        "--address=0.0.0.0": "--address=127.0.0.1",
    }
    made = Containers(directory, services, replaced, ports)
    try:
        made.start("redis")
        eventually(lambda: made.healthy("redis"), 20)
        first = made.run("init")
        assert first.returncode == 0, first.stderr
        (directory / "init.log").write_text(first.stdout + first.stderr)
        for name in ("web", "scheduler", "host", "flower"):
            made.start(name)
        yield made
    finally:
        made.stop()


def _rewrite(path: Path, change: Any) -> None:
    text = change(path.read_text())
    path.chmod(0o600)
    path.write_text(text)


def test_every_services_own_health_check_passes(containers, services):
    assert set(services) == {*NAMES, "postgresql"}
    for name in ("postgresql", "web", "scheduler", "host", "flower"):
        eventually(lambda name=name: containers.healthy(name), 60, f"{name} is healthy")


def test_a_health_check_can_fail(containers):
    stopped = containers.processes["scheduler"]
    stopped.send_signal(signal.SIGSTOP)
    try:
        assert not containers.healthy("scheduler")
    finally:
        stopped.send_signal(signal.SIGCONT)


def test_servers_are_built(containers):
    eventually(lambda: containers.healthy("host"), 60)
    state = containers.directory / "control"
    password = (state / "secrets/novella-password").read_text().strip()
    client = Client(f"http://127.0.0.1:{containers.ports['web']}", password=password)
    body = {"name": "raw", "disk_format": "raw", "container_format": "bare"}
    image_id = client.call("POST", "/image/v2/images", 201, json=body).json()["id"]
    octets = {"Content-Type": "application/octet-stream"}
    path = f"/image/v2/images/{image_id}/file"
    client.call("PUT", path, 204, data=os.urandom(4096), headers=octets)
    server_id, task_id = client.create(image_id)
    assert client.finished(task_id)["state"] == "succeeded"
    assert client.server(server_id)["status"] == "ACTIVE"


def test_the_first_start_happens_once_and_tells_no_password(containers):
    state = containers.directory / "control"
    told = containers.log("init")
    assert f"{state}/secrets/admin-password" in told
    passwords = list((state / "secrets").iterdir())
    assert len(passwords) == 2
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in passwords)
    assert not any(path.read_text().strip() in told for path in passwords)
    before = (state / "clouds.yaml").read_text()
    again = containers.run("init")
    assert (again.returncode, "is there; its schema is at" in again.stdout) == (0, True)
    assert (state / "clouds.yaml").read_text() == before


def test_no_secret_is_on_a_command_line_or_in_a_log(containers):
    secrets = (containers.directory / "secrets").glob("*_password")
    words = [path.read_text().strip() for path in secrets]
    roots = [psutil.Process(process.pid) for process in containers.processes.values()]
    everything = [one for root in roots for one in (root, *root.children(recursive=True))]
    shown = [" ".join(one.cmdline()) for one in everything]
    shown += [containers.log(name) for name in NAMES]
    assert len(words) == 3
    assert not any(word in text for word in words for text in shown)


def test_the_host_knows_no_database_and_ends_well(containers):
    kept = (containers.directory / "host/novella.toml").read_text()
    assert "database_url" not in kept
    assert "database_url" not in str(containers.services["host"])
    host = containers.processes["host"]
    (worker,) = _workers(host.pid)
    worker.kill()  # supervised: it comes back
    eventually(lambda: _workers(host.pid) - {worker}, 30)


def _workers(parent: int) -> set[psutil.Process]:
    found = set()
    for one in psutil.Process(parent).children(recursive=True):
        with suppress(psutil.Error):
            if "host-host1" in one.cmdline():
                found.add(one)
    return found


def test_only_the_host_has_libvirt_and_privileges(services):
    assert [name for name, one in services.items() if one.get("privileged")] == ["host"]
    assert services["host"]["init"]
    control = (CHECKOUT / "deploy/docker/control.Dockerfile").read_text()
    assert "install" in control
    assert not re.search(r"libvirt-|qemu", control)


def test_published_ports_are_on_loopback_unless_asked(services):
    published = [port for one in services.values() for port in one.get("ports", [])]
    assert published
    assert all(str(port).startswith("127.0.0.1:") for port in published)


def test_secrets_are_files_made_once(tmp_path):
    folder = tmp_path / "secrets"
    for _ in range(2):
        subprocess.run([CHECKOUT / "deploy/make-secrets", folder], check=True, timeout=30)
        made = {path.name: path.read_text() for path in folder.iterdir()}
    declared = yaml.safe_load(COMPOSE.read_text())["secrets"]
    assert {Path(one["file"]).name for one in declared.values()} <= set(made)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert made["redis_password"].strip() in made["broker_url"]
    assert made["postgres_password"].strip() in made["database_url"]
    again = subprocess.run([CHECKOUT / "deploy/make-secrets", folder], check=True, timeout=30)
    assert again.returncode == 0
    assert {path.name: path.read_text() for path in folder.iterdir()} == made


@pytest.mark.parametrize("file", DOCKERFILES, ids=lambda path: path.name)
def test_dockerfiles_copy_what_there_is_and_run_what_compose_runs(file, services):
    text = file.read_text().replace("\\\n", " ")
    ignored = (CHECKOUT / ".dockerignore").read_text().split()
    for line in re.findall(r"^COPY (.+)$", text, re.MULTILINE):
        for source in line.split()[:-1]:
            assert f"!{source}" in ignored
            assert source.startswith("dist/") or (CHECKOUT / source).is_file()
    (command,) = re.findall(r"^CMD (.+)$", text, re.MULTILINE)
    name = "host" if "host" in file.name else "web"
    assert json.loads(command) == services[name]["command"]


def test_the_hosts_packages_are_those_of_bin_setup():
    listed = subprocess.run(
        [CHECKOUT / "bin/setup", "--list"], capture_output=True, text=True, check=True, timeout=30
    )
    known = {line.split()[0] for line in listed.stdout.splitlines()}
    text = (CHECKOUT / "deploy/docker/host.Dockerfile").read_text().replace("\\\n", " ")
    (packages,) = re.findall(r"--no-install-recommends(.+?)&&", text)
    assert set(packages.split()) <= known


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_units_are_sound(unit, tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: bin/setup")
    programs = tmp_path / "bin"  # whose name has no space, whatever the checkout's has
    programs.symlink_to(SCRIPTS)
    for one in UNITS:
        (tmp_path / one.name).write_text(one.read_text().replace(OPT, f"{programs}/"))
    argv = ["systemd-analyze", "verify", "--man=no", unit.name]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    broken = (tmp_path / unit.name).read_text().replace("TimeoutStopSec", "TimeoutStop")
    broken = broken.replace("ExecStart=/", "ExecStart=/no/")
    (tmp_path / unit.name).write_text(broken)
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert "no/" in done.stderr


def test_units_run_what_is_run_here(services):
    """Each ExecStart is, but for paths and addresses, a command of compose, or the plain worker."""
    ran = {shlex.join(one["command"]) for one in services.values() if "command" in one}
    ran.add("celery -A app worker -E -Q host-%i")  # bin/up's; see tests/integration/test_up.py
    commands = []
    for unit in UNITS:
        (command,) = re.findall(r"^ExecStart=(.+)$", unit.read_text(), re.MULTILINE)
        assert command.startswith(OPT)
        commands.append(command.removeprefix(OPT).replace("127.0.0.1", "0.0.0.0"))
    assert len(commands) == 5
    assert set(commands) <= ran


def test_the_units_environment_is_enough(containers, tmp_path):
    """A unit's worker with its one variable, on another host name, against the running cloud."""
    secrets = containers.directory / "secrets"
    config = tmp_path / "novella.toml"
    config.write_text(
        f'state_dir = "{tmp_path}"\ndriver = "{FAKE}"\n'
        f'broker_url = "{(secrets / "broker_url").read_text().strip()}"\n'
    )
    text = next(unit for unit in UNITS if "@" in unit.name).read_text()
    (command,) = re.findall(r"^ExecStart=(.+)$", text, re.MULTILINE)
    argv = [word.replace(OPT, f"{SCRIPTS}/") for word in shlex.split(command.replace("%i", "n7"))]
    env = {"NOVELLA_CONFIG": str(config), "PATH": "/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(argv, env=env, cwd=tmp_path, stdout=log, stderr=log)
    try:
        env = containers.env("web")
        listing = ["novella", "host", "list", "--json"]

        def up() -> bool:
            done = subprocess.run(listing, env=env, capture_output=True, text=True, timeout=30)
            return any(h["name"] == "n7" and h["state"] == "up" for h in json.loads(done.stdout))

        eventually(up, 40, "n7 is up")
    finally:
        worker.terminate()
        worker.wait(30)


def test_flower_does_not_start_without_a_password(containers):
    env = containers.env("flower")
    del env["FLOWER_BASIC_AUTH_FILE"]
    done = subprocess.run(
        containers.words("flower"), env=env, capture_output=True, text=True, timeout=60
    )
    assert done.returncode != 0
    assert "set FLOWER_BASIC_AUTH" in done.stderr
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", containers.ports["flower"])) == 0
