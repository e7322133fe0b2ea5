"""The page on moving: the stock client with its clouds.yaml entries, as they stand there."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cloud import CHECKOUT, Cloud, eventually, free_port, running
from tests.http_client import Client
from tests.templates import PASSWORDS

PAGE = (CHECKOUT / "docs/moving.md").read_text()
OPENSTACK = Path(sys.executable).with_name("openstack")
COMMANDS = (("server", "list"), ("image", "list"), ("flavor", "list"), ("network", "list"))


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A clouds.yaml with the page's entries, for a cloud with users and one without."""
    cloud = Cloud(tmp_path_factory.mktemp("moving"))
    with running(cloud):
        cloud.start_web()
        root, open_port = f"http://127.0.0.1:{cloud.web_port}", free_port()
        argv = [sys.executable, "-m", "gunicorn", "-c", "python:app.web.gunicorn"]
        settings = {"auth": "noauth", "port": str(open_port)}
        cloud.spawn("open", [*argv, "app.web.wsgi:application"], **settings)
        eventually(lambda: "Listening at" in cloud.log("open"), 30, "the open web listens")
        member = Client(root)
        path = f"/identity/v3/users/{user_id(member)}/application_credentials"
        about = {"application_credential": {"name": "ci"}}
        made = member.call("POST", path, 201, json=about).json()["application_credential"]
        told = {"the-password": PASSWORDS["novella"], "the-id": made["id"]}
        told |= {"the-secret": made["secret"], "http://127.0.0.1:8774": root}
        entries = {
            name: filled(entry, {**told, "http://127.0.0.1:8774": f"http://127.0.0.1:{open_port}"})
            if entry["auth_type"] == "none"
            else filled(entry, told)
            for name, entry in examples().items()
        }
        written = cloud.directory / "clouds.yaml"
        written.write_text(yaml.safe_dump({"clouds": entries}))
        yield written


def examples() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.S):
        found |= yaml.safe_load(block)["clouds"]
    return found


def filled(entry: Any, told: dict[str, str]) -> Any:
    text = json.dumps(entry)
    for word, value in told.items():
        text = text.replace(word, value)
    return json.loads(text)


def user_id(client: Client) -> str:
    headers = {"X-Subject-Token": client.token}
    answer = client.call("GET", "/identity/v3/auth/tokens", headers=headers)
    return str(answer.json()["token"]["user"]["id"])


@pytest.mark.parametrize("name", ["with-a-password", "with-a-credential", "without-users"])
def test_the_stock_client_works_with_the_entry(clouds: Path, name: str) -> None:
    for command in COMMANDS:
        done = subprocess.run(
            [OPENSTACK, "--os-cloud", name, *command, "-f", "json"],
            env={"OS_CLIENT_CONFIG_FILE": str(clouds), "PATH": "/usr/bin:/bin", "HOME": "/nowhere"},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, (command, done.stderr[-2000:])
        assert isinstance(json.loads(done.stdout), list)
