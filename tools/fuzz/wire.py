"""Plain requests to the cloud under test, in the name of one of its users."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import requests

Json = dict[str, Any]
LATEST = "compute latest"
SECONDS = 70
"""How long an answer may take: longer than the longest ?wait=."""


class Failed(Exception):
    """The cloud did not do what the fuzzer needs of it."""


class Wire:
    """One user's requests; `token` is what it shows."""

    def __init__(self, root: str, token: str = "") -> None:
        self.root, self.token = root, token
        self.session = requests.Session()
        self.session.trust_env = False

    def ask(self, method: str, path: str, **more: Any) -> requests.Response:
        """One request, whatever comes of it."""
        headers = {"X-Auth-Token": self.token, "OpenStack-API-Version": LATEST}
        headers |= more.pop("headers", {})
        return self.session.request(
            method, self.root + path, headers=headers, timeout=SECONDS, **more
        )

    def must(self, method: str, path: str, **more: Any) -> requests.Response:
        """One request that succeeds. Raises Failed."""
        return _succeeded(self.ask(method, path, **more), f"{method} {path}")

    def found(self, method: str, path: str, **more: Any) -> requests.Response | None:
        """As `must`; None where what it is about is not there."""
        answer = self.ask(method, path, **more)
        return None if answer.status_code == 404 else _succeeded(answer, f"{method} {path}")

    def made(self, path: str, noun: str, about: Json, **more: Any) -> Json:
        """POST {noun: about}; what it is answered as."""
        return dict(self.must("POST", path, json={noun: about}, **more).json()[noun])

    def eventually(self, check: Callable[[], bool], seconds: float = 30.0) -> bool:
        """Whether `check` comes true within so many seconds."""
        deadline = time.monotonic() + seconds
        while not check():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True


def log_in(root: str, user: str, password: str, project: str) -> str:
    """A token of the user on the project, both of the default domain."""
    domain = {"id": "default"}
    who = {"user": {"name": user, "domain": domain, "password": password}}
    scope = {"project": {"name": project, "domain": domain}}
    body = {"auth": {"identity": {"methods": ["password"], "password": who}, "scope": scope}}
    return str(
        Wire(root).must("POST", "/identity/v3/auth/tokens", json=body).headers["X-Subject-Token"]
    )


def _succeeded(answer: requests.Response, what: str) -> requests.Response:
    if answer.status_code >= 300:
        raise Failed(f"{what}: {answer.status_code} {answer.text[:300]}")
    return answer
