"""The clients: threads that speak HTTP, repeat what was not answered, and note every promise."""

from __future__ import annotations

import re
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import requests

from tests.chaos.plan import Life, Options, lives
from tests.templates import PASSWORDS

UNANSWERED_SECONDS = 120.0
PAUSE_SECONDS = 0.3
AMBIGUOUS = (500, 502, 503, 504)
SERVERS = "/compute/v2.1/servers"


@dataclass(frozen=True)
class Promise:
    """One accepted request. `task_id` is unknown when its answer was lost and it was over then."""

    kind: str
    server_id: str
    task_id: str | None


class Ledger:
    """All that was promised to all clients, and what else they were answered."""

    def __init__(self) -> None:
        self.promises: dict[str, Promise] = {}
        self.answers: Counter[str] = Counter()
        self._lock = threading.Lock()

    def keep(self, promise: Promise) -> None:
        """Note a promise; the same one again changes nothing."""
        name = promise.task_id or f"{promise.kind} {promise.server_id}"
        with self._lock:
            self.promises.setdefault(name, promise)

    def count(self, what: str) -> None:
        """Count an answer that promised nothing."""
        with self._lock:
            self.answers[what] += 1


class Caller:
    """One user's connection: each request is repeated until its outcome is known."""

    def __init__(self, root: str, ledger: Ledger, user: str = "novella") -> None:
        self.root, self.ledger, self._user = root, ledger, user
        self._http = requests.Session()
        self._http.trust_env = False

    def log_in(self) -> None:
        """Get a token. Raises RuntimeError when there is none to be had."""
        user = {"name": self._user, "domain": {"id": "default"}, "password": PASSWORDS[self._user]}
        identity = {"methods": ["password"], "password": {"user": user}}
        scope = {"project": {"name": self._user, "domain": {"id": "default"}}}
        body = {"auth": {"identity": identity, "scope": scope}}
        answer, _ = self.ask("POST", "/identity/v3/auth/tokens", body)
        if answer is None or answer.status_code != 201:
            raise RuntimeError(f"no token for {self._user}: {answer and answer.text}")
        self._http.headers["X-Auth-Token"] = answer.headers["X-Subject-Token"]

    def ask(
        self, method: str, path: str, body: object = None, seconds: float = UNANSWERED_SECONDS
    ) -> tuple[requests.Response | None, bool]:
        """The definite answer, and whether an earlier one was lost; None after `seconds`."""
        key = {"Idempotency-Key": str(uuid.uuid4())} if method == "POST" else {}
        deadline, repeated = time.monotonic() + seconds, False
        while time.monotonic() < deadline:
            try:
                answer = self._http.request(
                    method, self.root + path, json=body, headers=key, timeout=(3, 30)
                )
                if answer.status_code not in AMBIGUOUS:
                    return answer, repeated
                self.ledger.count(f"{method} answered {answer.status_code}")
            except requests.RequestException:
                self.ledger.count(f"{method} not answered")
            repeated = True
            time.sleep(PAUSE_SECONDS)
        self.ledger.count(f"{method} given up")
        return None, repeated

    def create(self, fields: dict[str, Any], count: int) -> list[Promise]:
        """Ask for `count` servers; what was promised."""
        server = fields | {"min_count": count, "max_count": count}
        answer, _ = self.ask("POST", SERVERS, {"server": server})
        if answer is None or answer.status_code != 202:
            self._refused("create", answer)
            return []
        tasks = re.findall(r"</v1/tasks/([^>]+)>", answer.headers["Link"])
        made = []
        for task_id in tasks:
            shown, _ = self.ask("GET", f"/v1/tasks/{task_id}")
            server_id = shown.json()["server_id"] if shown is not None and shown.ok else ""
            made.append(Promise("create", server_id, task_id))
        for promise in made:
            self.ledger.keep(promise)
        return made

    def act(self, kind: str, server_id: str) -> Promise | None:
        """Ask for an action on a server; None when it was refused."""
        body: dict[str, object] = {
            "stop": {"os-stop": None},
            "start": {"os-start": None},
            "reboot": {"reboot": {"type": "SOFT"}},
            "hard_reboot": {"reboot": {"type": "HARD"}},
        }[kind]
        answer, _ = self.ask("POST", f"{SERVERS}/{server_id}/action", body)
        return self._promised(kind, server_id, answer)

    def delete(self, server_id: str) -> Promise | None:
        """Ask for a server's deletion; gone after a lost answer means that it was promised."""
        answer, repeated = self.ask("DELETE", f"{SERVERS}/{server_id}")
        if answer is not None and answer.status_code == 404 and repeated:
            promise = Promise("delete", server_id, None)
            self.ledger.keep(promise)
            return promise
        return self._promised("delete", server_id, answer)

    def _promised(
        self, kind: str, server_id: str, answer: requests.Response | None
    ) -> Promise | None:
        if answer is None or answer.status_code not in (202, 204):
            self._refused(kind, answer)
            return None
        promise = Promise(kind, server_id, answer.headers["X-Task-Id"])
        self.ledger.keep(promise)
        return promise

    def _refused(self, kind: str, answer: requests.Response | None) -> None:
        if answer is not None:
            self.ledger.count(f"{kind} refused with {answer.status_code}")

    def ended(self, promise: Promise, until: float) -> bool:
        """Wait for a promise's end, at most until `until`; whether it succeeded."""
        while time.monotonic() < until:
            path = f"/v1/tasks/{promise.task_id}?wait=5"
            answer, _ = self.ask("GET", path, seconds=max(1.0, until - time.monotonic()))
            state = answer.json()["state"] if answer is not None and answer.ok else ""
            if state in ("succeeded", "failed", "cancelled"):
                return bool(state == "succeeded")
        return False


class Client(threading.Thread):
    """One life after the other, until it is told to stop; its last servers stay."""

    def __init__(self, caller: Caller, options: Options, number: int, image_id: str) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self._caller, self._number = caller, number
        self._lives: Iterator[Life] = lives(options, number)
        self._image = image_id
        self._ended = threading.Event()

    def stop(self) -> None:
        """Ask for nothing new."""
        self._ended.set()

    def run(self) -> None:
        """See the class."""
        self._caller.log_in()
        for turn, life in enumerate(self._lives):
            if self._ended.is_set():
                return
            self._live(life, f"chaos-{self._number}-{turn}")

    def _live(self, life: Life, name: str) -> None:
        fields = {"name": name, "imageRef": self._image, "flavorRef": "6"}
        made = self._caller.create(fields, life.size)
        if not made:
            self._ended.wait(1.0)
            return
        until = time.monotonic() + life.patience
        if life.early is not None:
            self._ended.wait(life.early)
        else:
            ready = [promise for promise in made if self._caller.ended(promise, until)]
            for promise, steps in zip(ready, life.steps, strict=False):
                self._walk(promise.server_id, steps, life)
        for promise in made:
            if self._ended.is_set():
                return
            self._caller.delete(promise.server_id)

    def _walk(self, server_id: str, steps: tuple[str, ...], life: Life) -> None:
        """One step after the other; a step that fails, or takes too long, is the last."""
        for number, kind in enumerate(steps):
            promise = None if self._ended.is_set() else self._caller.act(kind, server_id)
            if promise is None or (life.hasty and number == len(steps) - 1):
                return
            if not self._caller.ended(promise, time.monotonic() + life.patience):
                return
