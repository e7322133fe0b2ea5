"""Many clients at once, creating and deleting over HTTP against one web, one scheduler worker and
fake hosts: what is refused, what breaks, how fast, and whether web's memory stays flat.

The baseline, measured first on the same cloud, is one client alone. Ends with status 1 when any
answer was a 5xx, any request got no answer, any log tells of a lock timeout, or a server is left.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import click
import psutil
import pytest
import requests
from sqlalchemy import func, select

from app.models import Server
from tests.asking import add_image, adopt, caller
from tests.cloud import Cloud, eventually, running
from tests.http_client import Client
from tests.postgres import postgresql

HOSTS = tuple(f"n{number}" for number in range(1, 9))
LOCK_WORDS = ("database is locked", "lock timeout", "LockNotAvailable", "deadlock detected")
QUOTAS = dict.fromkeys(("instances", "cores", "ram"), -1)


@dataclass
class Tally:
    """What the clients of one run met."""

    statuses: Counter[str] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)

    def served(self) -> int:
        return len(self.seconds)


class Visitor(threading.Thread):
    """One client: creates a server, waits for its task now and then, deletes it, again."""

    def __init__(self, cloud: Cloud, token: str, image: str, until: float, tally: Tally) -> None:
        super().__init__(daemon=True)
        self.root = f"http://127.0.0.1:{cloud.web_port}"
        self.session = requests.Session()
        self.session.trust_env = False
        self.session.headers["X-Auth-Token"] = token
        self.image, self.until, self.tally = image, until, tally

    def run(self) -> None:
        while time.monotonic() < self.until:
            body = {"server": {"name": "vm", "imageRef": self.image, "flavorRef": "6"}}
            made = self._ask("POST", "/compute/v2.1/servers", json=body)
            if made is None or made.status_code != 202:
                continue
            server_id, task = made.json()["server"]["id"], made.headers["X-Task-Id"]
            self._ask("GET", f"/v1/tasks/{task}?wait=5")
            self._ask("DELETE", f"/compute/v2.1/servers/{server_id}")

    def _ask(self, method: str, path: str, **more: object) -> requests.Response | None:
        begun = time.monotonic()
        try:
            answer = self.session.request(method, self.root + path, timeout=120, **more)  # type: ignore[arg-type]
        except requests.RequestException as error:
            self.tally.broken.append(f"{method} {path}: {error}")
            return None
        if "wait=" not in path:
            self.tally.seconds.append(time.monotonic() - begun)
        self.tally.statuses[f"{method} {answer.status_code}"] += 1
        if answer.status_code >= 500:
            self.tally.broken.append(f"{method} {path}: {answer.status_code} {answer.text[:200]}")
        return answer


@click.command()
@click.option("--clients", default=200, help="How many at once.")
@click.option("--minutes", default=5.0, help="For how long.")
@click.option("--db", type=click.Choice(["sqlite", "postgresql"]), default="sqlite")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path), help="Write the result there."
)
def main(clients: int, minutes: float, db: str, json_file: Path | None) -> None:
    """Let the crowd in."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        url = stack.enter_context(postgresql()) if db == "postgresql" else ""
        settings = {"inventory_seconds": "20"}
        cloud = Cloud(Path(folder), settings=settings, database_url=url)
        stack.enter_context(running(cloud))
        adopt(cloud, patch)
        result = _measure(cloud, clients, minutes * 60)
    click.echo("\n".join(f"{name:<22} {value}" for name, value in result.items()))
    if json_file is not None:
        json_file.write_text(json.dumps({"db": db, **result}, indent=1) + "\n")
    if result["5xx or no answer"] or result["lock errors"] or result["servers left"]:
        raise SystemExit(1)


def _measure(cloud: Cloud, clients: int, seconds: float) -> dict[str, object]:
    cloud.start_control()
    for host in HOSTS:
        cloud.start_host(host)
    cloud.start_web()
    cloud.hosts_up(*HOSTS, seconds=60)
    who = caller(cloud)
    admin = Client(f"http://127.0.0.1:{cloud.web_port}", "admin")
    quota = f"/compute/v2.1/os-quota-sets/{who.project_id}"
    admin.call("PUT", quota, 200, json={"quota_set": {**QUOTAS, "force": True}})
    image = add_image(cloud, who.project_id)
    alone = _visit(cloud, image, 1, min(15.0, seconds / 4))
    memory: list[float] = []
    many = _visit(cloud, image, clients, seconds, memory)
    left = _servers_left(cloud, admin)
    logs = "".join(cloud.log(name) for name in cloud.processes)
    half = len(memory) // 2
    return {
        "clients": clients,
        "seconds": round(seconds),
        "answers": dict(sorted(many.statuses.items())),
        "requests/s": round(many.served() / seconds, 1),
        "ratio to one client": round(_rate(many, seconds) / _rate(alone, min(15, seconds / 4)), 2),
        "median s": round(statistics.median(many.seconds), 2),
        "slowest s": round(max(many.seconds), 2),
        "web MiB, 1st half": round(statistics.mean(memory[:half]), 1),
        "web MiB, 2nd half": round(statistics.mean(memory[half:]), 1),
        "5xx or no answer": len(many.broken),
        "first of them": many.broken[:3],
        "lock errors": sum(logs.count(words) for words in LOCK_WORDS),
        "servers left": left,
    }


def _rate(tally: Tally, seconds: float) -> float:
    return tally.served() / seconds


def _visit(
    cloud: Cloud, image: str, clients: int, seconds: float, memory: list[float] | None = None
) -> Tally:
    tally = Tally()
    token = Client(f"http://127.0.0.1:{cloud.web_port}").token
    until = time.monotonic() + seconds
    crowd = [Visitor(cloud, token, image, until, tally) for _ in range(clients)]
    for one in crowd:
        one.start()
    master = psutil.Process(cloud.processes["web"].pid)
    while memory is not None and time.monotonic() < until:
        time.sleep(min(2.0, seconds / 10))
        family = [master, *master.children(recursive=True)]
        memory.append(sum(one.memory_info().rss for one in family) / (1 << 20))
    for one in crowd:
        one.join(seconds + 180)
    return tally


def _servers_left(cloud: Cloud, admin: Client) -> int:
    """Ask for the deletion of what the clients left behind; how many stay."""
    left = select(Server.id).where(Server.deleted_at.is_(None))
    count = select(func.count()).select_from(Server).where(Server.deleted_at.is_(None))
    for server_id in cloud.scalars(left):
        admin.session.delete(f"{admin.root}/compute/v2.1/servers/{server_id}", timeout=60)
    try:
        eventually(lambda: cloud.scalars(count) == [0], 120, "all servers are gone")
    except AssertionError:
        return int(cloud.scalars(count)[0])
    return 0


if __name__ == "__main__":
    main()
