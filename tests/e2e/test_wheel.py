"""The wheel in an environment of its own, without libvirt: all roles run, servers are built.

The quick environment holds what the wheel declares that it needs, and nothing else, linked from
this one; with `--full` pip installs the wheel into an empty one.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import venv
from collections.abc import Iterator
from importlib.metadata import Distribution, distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.cloud import CHECKOUT, FAKE, eventually
from tests.http_client import Client
from tests.local_cloud import Local

BUILD_SECONDS, INSTALL_SECONDS = 120, 600


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the checkout."""
    folder = tmp_path_factory.mktemp("dist")
    argv = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(folder)]
    done = subprocess.run(
        [*argv, str(CHECKOUT)], capture_output=True, text=True, timeout=BUILD_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(
    scope="module", params=["what it declares", pytest.param("pip", marks=pytest.mark.full)]
)
def python(
    request: pytest.FixtureRequest, wheel: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The Python of an environment with the wheel."""
    folder = tmp_path_factory.mktemp("environment") / "venv"
    by_pip = request.param == "pip"
    venv.create(folder, with_pip=by_pip, symlinks=True)
    made = folder / "bin/python"
    pip = [str(made) if by_pip else sys.executable, "-m", "pip", "--disable-pip-version-check"]
    install = ["install", "-q", str(wheel)]
    if by_pip:
        argv = [*pip, *install, "-c", str(CHECKOUT / "requirements.lock")]
    else:
        argv = [*pip, "--python", str(made), *install, "--no-deps"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=INSTALL_SECONDS)
    assert done.returncode == 0, done.stderr[-2000:]
    if not by_pip:
        _link_needs(made)
    return made


def _link_needs(python: Path) -> None:
    """Link into `python`'s environment what the wheel in it needs, directly and indirectly."""
    (site,) = (python.parents[1] / "lib").glob("python*/site-packages")
    (own,) = (one for one in distributions(path=[str(site)]) if one.name == "novella")
    needed: dict[str, Distribution] = {}
    left = [Requirement(text) for text in own.requires or []]
    seen: set[str] = set()
    while left:
        wanted = left.pop()
        extras = ["", *sorted(wanted.extras)]
        if wanted.marker is not None and not wanted.marker.evaluate({"extra": ""}):
            continue
        if str(wanted) in seen:
            continue
        seen.add(str(wanted))
        found = needed[wanted.name] = distribution(wanted.name)
        for text in found.requires or []:
            one = Requirement(text)
            if one.marker is None or any(one.marker.evaluate({"extra": e}) for e in extras):
                one.marker = None
                left.append(one)
    for found in needed.values():
        for top in {file.parts[0] for file in found.files or [] if file.parts[0] != ".."}:
            target = Path(str(found.locate_file(top)))
            if target.exists() and target.name != "__pycache__" and not (site / top).exists():
                (site / top).symlink_to(target)


@pytest.fixture(scope="module")
def cloud(python: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A cloud of the wheel's own processes."""
    made = Local(tmp_path_factory.mktemp("wheel"))
    done = novella(python, made, "up", "--no-guest")
    assert done.returncode == 0, done.stderr
    yield made
    novella(python, made, "down")
    assert made.ours() == []


def novella(
    python: Path, cloud: Local, *args: str, **environ: str
) -> subprocess.CompletedProcess[str]:
    """The installed command, from a directory that is nobody's."""
    quoted = ["sh", "-c", 'cd / && exec "$@"', "sh", str(python.with_name("novella")), *args]
    return cloud.run(*quoted, **{"PYTHONPATH": "", **environ})


def test_it_is_not_this_environment(python):
    def run(code: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": os.environ["PATH"]}
        argv = [str(python), "-c", code]
        return subprocess.run(argv, env=env, capture_output=True, text=True, cwd="/", timeout=60)

    assert "No module named 'libvirt'" in run("import libvirt").stderr
    assert "No module named 'pytest'" in run("import pytest").stderr
    where = run("import app; print(app.__file__)").stdout
    assert where.startswith(str(python.parents[1]))


def test_all_roles_run_and_a_server_is_built(python, cloud):
    running = [one for one in cloud.ours() if one.cmdline()[:1] == [str(python)]]
    words = [" ".join(one.cmdline()) for one in running]
    for role in ("app.web.wsgi", "scheduler,conductor", "host-n1", "app.cli.flower"):
        assert any(role in text for text in words), role
    password = (cloud.state / "secrets/novella-password").read_text().strip()
    client = Client(f"http://127.0.0.1:{cloud.port}", password=password)
    body = {"name": "raw", "disk_format": "raw", "container_format": "bare"}
    image_id = client.call("POST", "/image/v2/images", 201, json=body).json()["id"]
    octets = {"Content-Type": "application/octet-stream"}
    path = f"/image/v2/images/{image_id}/file"
    client.call("PUT", path, 204, data=bytes(4096), headers=octets)
    server_id, task_id = client.create(image_id)
    assert client.finished(task_id)["state"] == "succeeded"
    assert client.server(server_id)["status"] == "ACTIVE"
    assert novella(python, cloud, "status").returncode == 0


def test_a_second_machine_needs_the_wheel_alone(python, cloud, tmp_path):
    token = novella(python, cloud, "host", "token", "--quiet").stdout.strip()
    state = ("--state-dir", str(tmp_path / "n2"))
    none = {"NOVELLA_STATE_DIR": "", "NOVELLA_HOST_NAME": "", "NOVELLA_DRIVER": FAKE}
    url = f"http://127.0.0.1:{cloud.port}"
    join = ["host", "join", "--cloud", url, "--token", token, "--name", "n2", *state]
    none |= {"NOVELLA_PORT": "", "NOVELLA_FLOWER_PORT": ""}
    try:
        joined = novella(python, cloud, *join, **none)
        assert joined.returncode == 0, joined.stderr
        listed = novella(python, cloud, "host", "list", "--json").stdout
        assert {host["name"]: host["state"] for host in json.loads(listed)}["n2"] == "up"
    finally:
        left = novella(python, cloud, "host", "leave", "--force", *state, **none)
    assert left.returncode == 0, left.stderr
    refused = novella(python, cloud, *join, **{**none, "NOVELLA_DRIVER": ""})
    assert "libvirt-python is not installed here" in refused.stderr
    eventually(lambda: not (tmp_path / "n2/novella.toml").exists(), 5)
