"""A small OpenStack client for tests: what curl would do."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from typing import Any

import requests

from tests.cloud import allowed, eventually
from tests.templates import PASSWORDS


class Client:
    """One user's view of a cloud."""

    def __init__(
        self,
        root: str,
        user: str = "novella",
        password: str | None = None,
        verify: bool | str = True,
    ) -> None:
        self.root = root
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.verify = verify
        default = {"id": "default"}
        login = {
            "auth": {
                "identity": {
                    "methods": ["password"],
                    "password": {
                        "user": {
                            "name": user,
                            "domain": default,
                            "password": password or PASSWORDS[user],
                        }
                    },
                },
                "scope": {"project": {"name": user, "domain": default}},
            }
        }
        answer = self.session.post(f"{root}/identity/v3/auth/tokens", json=login, timeout=30)
        assert answer.status_code == 201, answer.text
        self.token = answer.headers["X-Subject-Token"]
        self.session.headers["X-Auth-Token"] = self.token

    def call(self, method: str, path: str, expect: int = 200, **kwargs: Any) -> requests.Response:
        """One call; its status must be as expected."""
        answer = self.session.request(method, self.root + path, timeout=70, **kwargs)
        assert answer.status_code == expect, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer

    def upload(self, path: Path, name: str = "tiny", **fields: Any) -> str:
        """Create an image of a qcow2 file; its id."""
        about = {"name": name, "disk_format": "qcow2", "container_format": "bare"} | fields
        image_id = str(self.call("POST", "/image/v2/images", 201, json=about).json()["id"])
        with path.open("rb") as content:
            self.call(
                "PUT",
                f"/image/v2/images/{image_id}/file",
                204,
                data=content,
                headers={"Content-Type": "application/octet-stream"},
            )
        return image_id

    def create(self, image_id: str, name: str = "vm", **fields: Any) -> tuple[str, str]:
        """Ask for a tiny server; (server id, task id)."""
        if user_data := fields.pop("user_data", None):
            fields["user_data"] = base64.b64encode(user_data.encode()).decode()
        server = {"name": name, "imageRef": image_id, "flavorRef": "6"} | fields
        answer = self.call("POST", "/compute/v2.1/servers", 202, json={"server": server})
        return str(answer.json()["server"]["id"]), answer.headers["X-Task-Id"]

    def act(self, server_id: str, **action: Any) -> str:
        """A server action; its task's id."""
        path = f"/compute/v2.1/servers/{server_id}/action"
        return self.call("POST", path, 202, json=action).headers["X-Task-Id"]

    def delete(self, server_id: str) -> str:
        """Delete a server; the task's id."""
        path = f"/compute/v2.1/servers/{server_id}"
        return self.call("DELETE", path, 204).headers["X-Task-Id"]

    def server(self, server_id: str) -> dict[str, Any]:
        """A server as shown."""
        return dict(self.call("GET", f"/compute/v2.1/servers/{server_id}").json()["server"])

    def task(self, task_id: str) -> dict[str, Any]:
        """A task as shown."""
        return dict(self.call("GET", f"/v1/tasks/{task_id}").json())

    def finished(self, task_id: str, seconds: float = 90.0) -> dict[str, Any]:
        """Wait for a task's end, by long polling."""
        deadline = time.monotonic() + allowed(seconds)
        tag = ""
        while True:
            answer = self.session.get(
                f"{self.root}/v1/tasks/{task_id}?wait=20",
                headers={"If-None-Match": tag} if tag else {},
                timeout=70,
            )
            if answer.status_code == 200:
                tag, task = answer.headers["ETag"], dict(answer.json())
                if task["state"] in ("succeeded", "failed", "cancelled"):
                    return task
            assert time.monotonic() < deadline, f"task {task_id} has not ended: {answer.text}"

    def console(self, server_id: str) -> str:
        """The serial console so far."""
        path = f"/compute/v2.1/servers/{server_id}/action"
        answer = self.call("POST", path, 200, json={"os-getConsoleOutput": {}})
        return str(answer.json()["output"])

    def says(self, server_id: str, mark: str, seconds: float = 90.0) -> str:
        """Wait until the console shows `mark`; the whole console."""
        eventually(lambda: mark in self.console(server_id), seconds, f"console shows {mark!r}")
        return self.console(server_id)
