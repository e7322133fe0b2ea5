"""The fuzzer proper, which runs in Schemathesis' environment: reads the document from the cloud,
sends requests over all of its operations, and writes what came of them as JSON.

Arguments: the cloud's root, the number of requests, a seed, the file for the results. The
administrator's password is in FUZZ_PASSWORD.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import random
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis import GenerationMode

from tools.fuzz.aim import Aim
from tools.fuzz.people import People, people
from tools.fuzz.servers import ROOT as SERVERS
from tools.fuzz.tally import Tally
from tools.fuzz.things import Things
from tools.fuzz.wire import SECONDS, Failed

Json = dict[str, Any]
schemathesis.serializer.alias(
    [f"application/openstack-images-v2.{minor}-json-patch" for minor in (0, 1)], "application/json"
)
ACTION = f"{SERVERS}/{{server_id}}/action"
ROLES, WEIGHTS = ("admin", "manager", "member", "reader", "service"), (40, 10, 30, 10, 10)
SPARE = "h2"
TRIES = 12
"""For an action that no request has reached yet."""
_WRONG = 0.15
"""How many of the requests are wrong on purpose."""


@dataclass(frozen=True)
class Target:
    """An operation, or one action of the operation that has all of them."""

    operation: Any
    schema: Json
    action: str = ""
    until: str = ""
    answers: tuple[int, ...] = ()

    @property
    def path(self) -> str:
        """With its parameters in braces."""
        return str(self.operation.path)

    @property
    def method(self) -> str:
        """In upper case."""
        return str(self.operation.method).upper()

    @property
    def declared(self) -> set[int]:
        """The statuses that the document knows."""
        return {int(status) for status in self.operation.definition.raw["responses"]}


def targets(document: Json) -> Iterator[Target]:
    """Everything that can be asked for."""
    for found in schemathesis.openapi.from_dict(document).get_all_operations():
        operation = found.ok()
        body = operation.definition.raw.get("requestBody", {})
        schema = next((one.get("schema", {}) for one in body.get("content", {}).values()), {})
        if operation.path != ACTION:
            yield Target(operation, schema)
            continue
        for branch in schema["oneOf"]:
            yield _action(document, branch)


def _action(document: Json, branch: Json) -> Target:
    about = document["components"]["schemas"][branch["$ref"].rsplit("/", 1)[1]]
    content = {"application/json": {"schema": branch}}
    post = document["paths"][ACTION]["post"]
    narrow = {**post, "requestBody": {"required": True, "content": content}}
    only = {**document, "paths": {ACTION: {"post": narrow}}}
    operation = schemathesis.openapi.from_dict(only)[ACTION]["post"]
    return Target(operation, branch, about["title"], about["x-until"], tuple(about["x-answers"]))


class Attack:
    """A run against one cloud."""

    def __init__(self, root: str, document: Json, who: People, dice: random.Random) -> None:
        self.root, self.who, self.dice = root, who, dice
        self.things = Things(who, SPARE)
        self.aim = Aim(self.things, document, dice)
        self.targets = list(targets(document))
        can = {one.action for one in self.targets if one.action and one.answers != (410,)}
        never = {one.action for one in self.targets if not one.answers}
        self.tally = Tally(can - never)

    def run(self, wanted: int) -> None:
        """About so many requests over all targets, and a few more for actions not yet reached."""
        rounds = max(1, min(4, wanted // (2 * len(self.targets))))
        each = math.ceil(wanted / rounds / len(self.targets))
        for _ in range(rounds):
            for target in self.dice.sample(self.targets, len(self.targets)):
                self._burst(target, each)
        for target in self.targets:
            for _ in range(TRIES):
                if target.action not in self.tally.wanted - self.tally.reached:
                    break
                self._burst(target, 1, wrong=0.0, role="admin")

    def _burst(self, target: Target, count: int, wrong: float = _WRONG, role: str = "") -> None:
        bad = self.dice.random() < wrong
        cases = self._cases(target, count, GenerationMode.NEGATIVE) if bad else []
        aimed = not cases
        for case in cases or self._cases(target, count, GenerationMode.POSITIVE):
            self._send(target, case, role or self.dice.choices(ROLES, WEIGHTS)[0], aimed=aimed)

    def _cases(self, target: Target, count: int, mode: GenerationMode) -> list[Any]:
        """So many cases at most: none where nothing can be wrong."""
        cases: list[Any] = []

        @seed(self.dice.getrandbits(32))
        @settings(
            max_examples=count,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(target.operation.as_strategy(generation_mode=mode))
        def make(case: Any) -> None:
            cases.append(case)

        with contextlib.suppress(Unsatisfiable):
            make()
        return cases[:count]

    def _send(self, target: Target, case: Any, role: str, *, aimed: bool) -> None:
        wire, path = self.who.wires[role], target.path
        used_up = target.method == "DELETE" and role in ("admin", "member")
        names = list(case.path_parameters or {})
        if aimed or self.dice.random() < 0.5:
            case.path_parameters = self.things.values(path, names, role, fresh=False)
        if target.action and "server_id" in names:
            case.path_parameters = {"server_id": self.things.servers.fit_for(target.action)}
        if aimed:
            self._better(target, case, role)
        headers = self._headers(target, case, wire.token)
        case.headers = headers
        started = time.monotonic()
        answer = case.call(
            base_url=self.root, session=wire.session, headers=headers, timeout=SECONDS
        )
        if answer.status_code < 300 and used_up or answer.status_code == 404:
            self.things.forget(path)
        sent = str(case.body)[:300] if target.schema else ""
        about = {
            "operation": f"{target.method} {path}", "action": target.action, "role": role,
            "status": answer.status_code, "seconds": round(time.monotonic() - started, 2),
            "path": str(case.path_parameters)[:300], "query": str(case.query)[:300], "body": sent,
            "version": headers.get("OpenStack-API-Version", ""), "told": answer.text[:300],
        }  # fmt: skip
        self.tally.count(about, target.declared)

    def _better(self, target: Target, case: Any, role: str) -> None:
        """Make a good request better."""
        listed = target.operation.definition.raw.get("parameters", [])
        known = {one["name"]: one.get("schema", {}) for one in listed if one.get("in") == "query"}
        case.query = self.aim.query(case.query or {}, known)
        if target.schema:
            server = (case.path_parameters or {}).get("server_id", "")
            ready = self.aim.action(target.action, server) if target.action else None
            path = target.path
            case.body = ready or self.aim.body(path, role, case.body, target.schema)

    def _headers(self, target: Target, case: Any, token: str) -> dict[str, str]:
        made = {name: str(value) for name, value in (case.headers or {}).items()}
        made["X-Auth-Token"] = token
        if self.dice.random() < 0.9:
            made.pop("Idempotency-Key", None)
        if target.path.startswith("/compute"):
            made["OpenStack-API-Version"] = self.aim.version(target.path, target.until)
        if target.path == "/identity/v3/auth/tokens" and target.method != "POST":
            made["X-Subject-Token"] = self.aim.subject()
        return made


def main() -> int:
    """Exit status 0 when the run came to its end, whatever it found; 2 when it could not."""
    root, wanted, number, results = sys.argv[1:]
    document = requests.get(f"{root}/openapi.json", timeout=SECONDS).json()
    wrong = [error.message[:300] for error in OpenAPIV31SpecValidator(document).iter_errors()]
    if wrong:
        print("the document is not OpenAPI 3.1:", *wrong[:5], sep="\n", file=sys.stderr)
        return 2
    random.seed(int(number))
    try:
        attack = Attack(
            root, document, people(root, os.environ["FUZZ_PASSWORD"]), random.Random(int(number))
        )
        attack.run(int(wanted))
    except Failed as error:
        print(f"the cloud does not do what the fuzzer needs: {error}", file=sys.stderr)
        return 2
    Path(results).write_text(json.dumps(attack.tally.summary(), indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
