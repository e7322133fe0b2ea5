"""`novella host join`: hypervisors with the fake driver join a cloud that bin/up made."""

from __future__ import annotations

import contextlib
import json
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from click.testing import CliRunner

from app.cli import main
from app.cli.local.place import find_place
from app.images.keys import load_keys
from app.joining import make_token
from tests.cloud import FAKE, eventually
from tests.local_cloud import Local


@dataclass
class Machine:
    """One that is to be a hypervisor: a state directory, and nothing else of the cloud's."""

    cloud: Local
    directory: Path

    @property
    def state(self) -> Path:
        """Its state directory."""
        return self.directory / "its state"

    def host(self, command: str, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """`novella host COMMAND` on this machine, with an environment that names no cloud."""
        argv = [sys.executable, "-m", "app.cli", "host", command, "--state-dir", str(self.state)]
        none = {"NOVELLA_STATE_DIR": "", "NOVELLA_HOST_NAME": "", "NOVELLA_PORT": ""}
        none |= {"NOVELLA_FLOWER_PORT": "", "NOVELLA_DRIVER": ""}
        return self.cloud.run(*argv, *args, **{**none, **environ})

    def join(self, name: str, *args: str, **environ: str) -> subprocess.CompletedProcess[str]:
        """Join with a fresh token, unless `args` have another."""
        argv = ["--cloud", url(self.cloud), "--name", name, "--driver", FAKE]
        if "--token" not in args:
            argv += ["--token", token(self.cloud)]
        return self.host("join", *argv, *args, **environ)

    def refused(self, *args: str) -> str:
        """What a join that must fail says; nothing of it is left. In this process: it is quick."""
        argv = ["host", "join", "--state-dir", str(self.state), "--name", "n8", "--driver", FAKE]
        argv += ["--cloud", url(self.cloud), *args]
        if "--token" not in args:
            argv += ["--token", make_token(load_keys(self.cloud.state / "keys"), 60)]
        done = CliRunner().invoke(main, argv)
        assert done.exit_code == 1, done.output
        assert self.processes() == []
        assert not (self.state / "novella.toml").exists()
        return done.stderr

    def processes(self) -> list[psutil.Process]:
        """What runs here."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("NOVELLA_CONFIG") == str(self.state / "novella.toml"):
                    found.append(process)
            except psutil.Error:
                continue
        return found


def url(cloud: Local) -> str:
    return f"http://127.0.0.1:{cloud.port}"


def token(cloud: Local, *args: str) -> str:
    done = cloud.novella("host", "token", "--quiet", *args)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def states(cloud: Local) -> dict[str, str]:
    """Host → state, from the database."""
    rows = json.loads(cloud.novella("host", "list", "--json").stdout)
    return {row["name"]: row["state"] for row in rows}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A cloud with one host, n1."""
    made = Local(tmp_path_factory.mktemp("cloud"))
    done = made.up(NOVELLA_BEAT_SECONDS="1")
    assert done.returncode == 0, done.stderr
    yield made
    made.down()
    assert made.ours() == []


@pytest.fixture(scope="module")
def machines(
    cloud: Local, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Machine]]:
    """Makes machines; what runs on them ends with the module."""
    made: dict[str, Machine] = {}

    def machine(name: str) -> Machine:
        if name not in made:
            made[name] = Machine(cloud, tmp_path_factory.mktemp(name))
        return made[name]

    yield machine
    for one in made.values():
        if one.processes():
            one.host("leave", "--force")
        assert one.processes() == []


def test_the_first_machine_says_what_to_type_on_the_second(cloud):
    done = cloud.novella("host", "token", "--minutes", "20")
    made = done.stdout.splitlines()[0]
    assert f"novella host join --cloud {url(cloud)} --token {made}" in done.stdout
    assert "20 minutes" in done.stdout
    assert "no other machine reaches" in done.stderr
    assert cloud.novella("host", "token", "--minutes", "1441").returncode == 2


def test_a_token_is_made_only_where_the_keys_are(cloud, tmp_path):
    done = cloud.novella("host", "token", NOVELLA_STATE_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "run this on the machine of the web process" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_two_machines_join_and_take_servers(cloud, machines):
    for name in ("n2", "n3"):
        done = machines(name).join(name)
        assert done.returncode == 0, done.stderr
        assert f"joined {url(cloud)} as {name}" in done.stdout
    assert states(cloud) == {"n1": "up", "n2": "up", "n3": "up"}
    state = machines("n2").state
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert stat.S_IMODE((state / "novella.toml").stat().st_mode) == 0o600
    assert "database_url" not in (state / "novella.toml").read_text()
    assert "beat_seconds = 1.0" in (state / "novella.toml").read_text()


def test_no_secret_of_the_joined_host_is_on_a_command_line_or_in_a_log(cloud, machines):
    place = find_place({"NOVELLA_STATE_DIR": str(cloud.state)})
    password = (place.secrets / "redis-password").read_text().strip()
    here = machines("n2")
    texts = [" ".join(process.cmdline()) for process in here.processes()]
    texts += [path.read_text(errors="replace") for path in (here.state / "log").iterdir()]
    assert len(texts) >= 4
    assert not any(password in text for text in texts)


def test_joining_again_changes_nothing_and_starts_what_is_missing(cloud, machines):
    here = machines("n2")
    before = {process.pid for process in here.processes()}
    again = here.join("n2")
    assert again.returncode == 0, again.stderr
    assert f"already joined {url(cloud)} as n2" in again.stdout
    assert {process.pid for process in here.processes()} == before

    assert here.host("status").returncode == 0
    assert here.host("stop").returncode == 0
    assert here.processes() == []
    stopped = here.host("status")
    assert (stopped.returncode, "novella host start" in stopped.stdout) == (1, True)
    back = here.join("n2", "--token", "an old one")
    assert back.returncode == 0, back.stderr
    assert "going on with the settings of before" in back.stdout
    eventually(lambda: states(cloud)["n2"] == "up", 30)
    assert here.host("status").returncode == 0


def workers(here):
    """The host's Celery workers; one that ends while it is looked at is none."""
    found = []
    for process in here.processes():
        with contextlib.suppress(psutil.NoSuchProcess):
            found += [process] if "host-n3" in process.cmdline() else []
    return found


def test_a_killed_worker_is_started_again(cloud, machines):
    here = machines("n3")
    worker = workers(here)[0]
    worker.kill()
    eventually(lambda: any(other != worker for other in workers(here)), 30)
    eventually(lambda: here.host("status").returncode == 0, 30)


def test_a_machine_stays_with_its_cloud_and_name(machines):
    here = machines("n3")
    for args in (("--name", "n9"), ("--cloud", "http://127.0.0.1:1")):
        done = here.host("join", "--cloud", url(here.cloud), "--token", "x", *args)
        assert done.returncode == 1
        assert "has joined" in done.stderr
        assert "as n3 already" in done.stderr


def test_a_copy_of_a_host_is_refused_and_leaves_nothing(cloud, machines):
    copy = machines("copy")
    done = copy.join("n2")
    assert done.returncode == 1
    assert "The host n2 is up now" in done.stderr
    assert "--name" in done.stderr
    assert copy.processes() == []
    assert not (copy.state / "novella.toml").exists()
    assert states(cloud)["n2"] == "up"


@pytest.mark.parametrize(
    ("args", "words"),
    [
        (("--token", "forged"), "not one of this cloud"),
        (("--cloud", "http://127.0.0.1:1"), "no connection"),
        (("--cloud", "ftp://127.0.0.1"), "give the API's URL"),
        (("--cloud", "https://127.0.0.1:{port}"), "certificate is not trusted or no TLS"),
        (("--cloud", "http://127.0.0.1:{flower}"), "not as a Novella cloud does"),
        (("--name", "a/b"), "it must match"),
        (("--driver", "app.virt.none:Driver"), "cannot load"),
    ],
)
def test_what_is_wrong_is_said_before_anything_starts(cloud, machines, args, words):
    args = [a.format(port=cloud.port, flower=cloud.flower_port) for a in args]
    assert words in machines("wrong").refused(*args)


def test_an_expired_token_is_told_as_such(cloud, machines):
    said = machines("wrong").refused("--token", make_token(load_keys(cloud.state / "keys"), -1))
    assert "has expired: make one with `novella host token`" in said


def test_a_libvirt_that_is_not_there_is_explained(machines):
    pytest.importorskip("libvirt")
    uri = "qemu+unix:///system?socket=/nonexistent/libvirt-sock"
    driver = "app.virt.libvirt.driver:LibvirtDriver"
    said = machines("wrong").refused("--driver", driver, "--libvirt-uri", uri)
    assert "it is not running: systemctl enable --now libvirtd; or give --own-libvirtd" in said


def test_a_cloud_and_a_host_do_not_share_a_state_directory(cloud, machines):
    here = machines("n2")
    mixed = cloud.novella("up", "--no-guest", NOVELLA_STATE_DIR=str(here.state))
    assert (mixed.returncode, "is of a host that joined" in mixed.stderr) == (1, True)
    done = cloud.novella("host", "stop", "--state-dir", str(cloud.state))
    assert (done.returncode, "of no host that joined" in done.stderr) == (1, True)
    assert cloud.healthy()


def test_a_host_with_servers_does_not_leave(cloud, machines):
    here = machines("n3")
    guests = here.state / "hosts/n3/fake.json"
    data = json.loads(guests.read_text())
    cloud_id = tomllib.loads((here.state / "novella.toml").read_text())["cloud_id"]
    guest = {"cloud_id": cloud_id, "server_id": "s", "fence": 1, "power_state": 1}
    data["guests"]["s"] = {**guest, "committed": True, "applied": 1}
    guests.write_text(json.dumps(data))
    refused = here.host("leave")
    assert (refused.returncode, "1 servers are on n3" in refused.stderr) == (1, True)
    assert here.host("leave", "--force").returncode == 0
    assert here.processes() == []
    assert not (here.state / "novella.toml").exists()
    assert guests.exists()
    assert here.host("start").returncode == 1
