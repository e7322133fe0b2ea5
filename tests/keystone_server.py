"""A real Keystone for tests, on loopback: SQLite, Fernet tokens, TLS by a CA of its own."""

from __future__ import annotations

import base64
import os
import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tests.certificates import Authority, Pair
from tests.cloud import CHECKOUT, eventually, free_port

ADMIN_PASSWORD = "keystone-admin-secret"
SERVICE_PASSWORD = "novella-service-secret"
_CONF = """\
[DEFAULT]
log_file = {folder}/keystone.log
[database]
connection = sqlite:///{folder}/keystone.sqlite
[fernet_tokens]
key_repository = {folder}/fernet
[credential]
key_repository = {folder}/fernet
[token]
expiration = {expiration}
[identity]
password_hash_rounds = 4
"""
# Keystone reads the arguments of whoever imports it as its own.
_SERVE = """\
import sys
key, certificate, port = (sys.argv.pop() for _ in range(3))
from keystone.wsgi.api import application
from werkzeug.serving import run_simple
run_simple(
    "127.0.0.1", int(port), application, threaded=True, ssl_context=(certificate, key)
)
"""


def environment() -> Path:
    """Where bin/setup --keystone puts Keystone."""
    return Path(os.environ.get("NOVELLA_KEYSTONE_VENV") or CHECKOUT / ".venv-keystone")


@dataclass
class KeystoneServer:
    """The process, and what its administrator does over HTTP. `ids` has those of what was made."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None
    ids: dict[str, str] = field(default_factory=dict)
    _token: str = ""

    def __post_init__(self) -> None:
        self.pair: Pair = Authority(self.folder).issue("127.0.0.1")

    @property
    def url(self) -> str:
        """Its address, without a version."""
        return f"https://127.0.0.1:{self.port}"

    @property
    def ca(self) -> Path:
        """The certificate by which it is known."""
        return self.folder / "ca.pem"

    def prepare(self) -> None:
        """Make the database, with the administrator, the usual roles and the identity service."""
        keys = self.folder / "fernet"
        keys.mkdir(parents=True, mode=0o700)
        for name in ("0", "1"):
            key = keys / name
            key.write_bytes(base64.urlsafe_b64encode(os.urandom(32)))
            key.chmod(0o600)
        self._configure(3600)
        self._manage("db_sync")
        urls = [f"--bootstrap-{kind}-url={self.url}/v3" for kind in ("public", "internal", "admin")]
        self._manage(
            "bootstrap", "--bootstrap-password", ADMIN_PASSWORD, "--bootstrap-region-id=Here", *urls
        )

    def start(self, expiration: int = 3600) -> None:
        """Serve; tokens made from now on live for `expiration` seconds."""
        self._configure(expiration)
        with (self.folder / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [environment() / "bin/python", "-W", "ignore", "-c", _SERVE, str(self.port)]
                + [str(self.pair.certificate), str(self.pair.key)],
                env=self._env(),
                stdout=log,
                stderr=log,
            )
        eventually(self._answers, 60, "Keystone answers")

    def stop(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.kill()
            self.process.wait(10)
            self.process = None

    def hang(self, hangs: bool) -> None:
        """Let it take connections and answer nothing, or go on."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP if hangs else signal.SIGCONT)

    def add(self, kind: str, name: str, **more: Any) -> str:
        """Make a project, user, service or endpoint; its id."""
        made = self.call("POST", f"/{kind}s", json={kind: {"name": name, **more}}).json()
        self.ids[name] = made[kind]["id"]
        return self.ids[name]

    def grant(self, user: str, project: str, role: str) -> None:
        """Give the user the role on the project."""
        if not (role_id := self.ids.get(f"role {role}")):
            found = self.call("GET", "/roles", params={"name": role}).json()["roles"]
            role_id = self.ids[f"role {role}"] = found[0]["id"]
        path = f"/projects/{self.ids[project]}/users/{self.ids[user]}/roles/{role_id}"
        self.call("PUT", path)

    def token(self, user: str, project: str | None, password: str) -> str:
        """A token on the project, or on the system when it is None."""
        domain = {"id": "default"}
        who = {"user": {"name": user, "domain": domain, "password": password}}
        scope: Any = {"system": {"all": True}}
        if project is not None:
            scope = {"project": {"name": project, "domain": domain}}
        asked = {"identity": {"methods": ["password"], "password": who}, "scope": scope}
        answer = requests.post(
            f"{self.url}/v3/auth/tokens", json={"auth": asked}, timeout=30, verify=str(self.ca)
        )
        assert answer.status_code == 201, answer.text
        return answer.headers["X-Subject-Token"]

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        """One request as the administrator."""
        self._token = self._token or self.token("admin", "admin", ADMIN_PASSWORD)
        headers = {"X-Auth-Token": self._token} | more.pop("headers", {})
        answer = requests.request(
            method,
            f"{self.url}/v3{path}",
            headers=headers,
            timeout=30,
            verify=str(self.ca),
            **more,
        )
        assert answer.status_code < 400, answer.text
        return answer

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.folder / "server.log").read_text()[-3000:]
        try:
            return requests.get(f"{self.url}/v3", timeout=5, verify=str(self.ca)).status_code == 200
        except requests.ConnectionError:
            return False

    def _configure(self, expiration: int) -> None:
        conf = _CONF.format(folder=self.folder, expiration=expiration)
        (self.folder / "keystone.conf").write_text(conf)

    def _env(self) -> dict[str, str]:
        folder = str(self.folder)
        return os.environ | {
            "OS_KEYSTONE_CONFIG_DIR": folder,
            "OS_KEYSTONE_CONFIG_FILES": "keystone.conf",
            "PYTHONPATH": "",
        }

    def _manage(self, *command: str) -> None:
        conf = str(self.folder / "keystone.conf")
        done = subprocess.run(
            [environment() / "bin/keystone-manage", "--config-file", conf, *command],
            env=self._env(),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stdout + done.stderr
