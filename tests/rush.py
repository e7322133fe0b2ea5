"""Many requests at once on a cloud of many fake hosts, with a watcher for over-commitment."""

from __future__ import annotations

import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psutil
from sqlalchemy import func, select, text

from app.models import Action, Allocation, Host, Server
from app.virt.fake import VCPUS
from tests.asking import add_image, caller
from tests.cloud import Cloud, eventually
from tests.http_client import Client

SIZES = ("vcpus", "ram_mb", "disk_gb")
OVER = """
    NEW.used_vcpus > NEW.vcpus * NEW.cpu_ratio
    OR NEW.used_ram_mb > (NEW.ram_mb - NEW.reserved_ram_mb) * NEW.ram_ratio
    OR NEW.used_disk_gb > NEW.disk_gb * NEW.disk_ratio
"""


@dataclass
class Rush:
    """A cloud under load; `room` is how many tiny servers (one vCPU each) a host takes."""

    cloud: Cloud
    hosts: int
    room: int
    schedulers: int = 1
    per_worker: int = 100
    names: list[str] = field(default_factory=list)

    def start(self) -> None:
        """Start web, workers and hosts, and wait until all hosts take servers."""
        cloud = self.cloud
        cloud.settings |= {"cpu_ratio": str(self.room / VCPUS), "inventory_seconds": "120"}
        # Beats of many hosts of one worker on a busy machine come late.
        cloud.settings |= {"beat_seconds": "5", "down_after": "120", "session_seconds": "100"}
        for number in range(self.schedulers):
            cloud.spawn(f"scheduler-{number}", cloud._worker("scheduler"))
        cloud.spawn("conductor", cloud._worker("conductor"))
        self.names = [f"h{number:05}" for number in range(self.hosts)]
        for first in range(0, self.hosts, self.per_worker):
            group = self.names[first : first + self.per_worker]
            cloud.spawn(f"hosts-{first}", cloud._worker(",".join(f"host-{one}" for one in group)))
        cloud.start_web()
        cloud.hosts_up(*self.names, seconds=60 + self.hosts / 5)

    def scheduler_seconds(self) -> float:
        """The CPU time of the workers that schedule and claim, so far."""
        found = 0.0
        for number in range(self.schedulers):
            times = psutil.Process(self.cloud.processes[f"scheduler-{number}"].pid).cpu_times()
            found += times.user + times.system
        return found

    def ask(self, requests: int, servers: int, clients: int = 16) -> list[str]:
        """Ask for so many times so many servers; the ids of their tasks."""
        cloud = self.cloud
        who = caller(cloud)
        root = f"http://127.0.0.1:{cloud.web_port}"
        admin = Client(root, "admin")
        quota: dict[str, Any] = dict.fromkeys(("instances", "cores", "ram"), -1)
        path = f"/compute/v2.1/os-quota-sets/{who.project_id}"
        admin.call("PUT", path, json={"quota_set": quota | {"force": True}})
        image = add_image(cloud, who.project_id)
        local = threading.local()

        def one(number: int) -> str:
            if not hasattr(local, "client"):
                local.client = Client(root)
            more = {} if servers == 1 else {"min_count": servers, "max_count": servers}
            local.client.create(image, f"vm-{number}", **more)
            return ""

        with ThreadPoolExecutor(clients) as pool:
            list(pool.map(one, range(requests)))
        return [str(one) for one in cloud.scalars(select(Action.id))]

    def claimed(self, seconds: float) -> None:
        """Wait until no request waits for a place any more."""
        waiting = select(func.count()).where(
            Action.finished_at.is_(None), Action.stage.in_(("schedule", "claim"))
        )
        eventually(lambda: self.cloud.scalars(waiting)[0] == 0, seconds, "all have their places")

    def ended(self, seconds: float) -> Counter[str]:
        """Wait until every request has ended; how many servers are in each state."""
        unfinished = select(func.count()).where(Action.finished_at.is_(None))
        deadline = time.monotonic() + seconds
        while left := self.cloud.scalars(unfinished)[0]:
            assert time.monotonic() < deadline, f"{left} requests have not ended in {seconds} s"
            time.sleep(0.2)
        return Counter(self.cloud.scalars(select(Server.vm_state)))


@contextmanager
def watched(cloud: Cloud) -> Iterator[list[str]]:
    """What was ever wrong with the claims while the block ran; empty when all was well.

    A trigger notes each write that puts a host above a limit; a thread compares every host's
    use with the sum of its allocations, over and over, in one snapshot.
    """
    _note_excess(cloud)
    wrong: list[str] = []
    over = threading.Event()
    watcher = threading.Thread(target=_compare, args=(cloud, wrong, over), daemon=True)
    watcher.start()
    try:
        yield wrong
    finally:
        over.set()
        watcher.join(30)
        _compare_once(cloud, wrong)
        wrong += [
            f"{host} was over its limit" for host in cloud.scalars(text("SELECT * FROM excess"))
        ]


def _note_excess(cloud: Cloud) -> None:
    with cloud.engine.begin() as connection:
        connection.execute(text("CREATE TABLE excess (host text)"))
        if connection.dialect.name == "sqlite":
            connection.exec_driver_sql(
                f"CREATE TRIGGER excess_noted AFTER UPDATE ON hosts WHEN {OVER} "
                "BEGIN INSERT INTO excess VALUES (NEW.name); END"
            )
            return
        connection.exec_driver_sql(
            "CREATE FUNCTION note_excess() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN INSERT INTO excess VALUES (NEW.name); RETURN NEW; END $$"
        )
        connection.exec_driver_sql(
            f"CREATE TRIGGER excess_noted AFTER UPDATE ON hosts FOR EACH ROW WHEN ({OVER}) "
            "EXECUTE FUNCTION note_excess()"
        )


def _compare(cloud: Cloud, wrong: list[str], over: threading.Event) -> None:
    while not over.wait(0.1):
        _compare_once(cloud, wrong)


def _compare_once(cloud: Cloud, wrong: list[str]) -> None:
    sums = [
        func.coalesce(func.sum(getattr(Allocation, name)), 0) - getattr(Host, f"used_{name}")
        for name in SIZES
    ]
    count = func.count(Allocation.server_id) - Host.servers
    joined = (
        select(Host.name, *sums, count)
        .outerjoin(Allocation, Allocation.host == Host.name)
        .group_by(Host.name)
    )
    with cloud.engine.connect().execution_options(reading=True) as connection:
        for name, *differences in connection.execute(joined):
            if any(differences):
                wrong.append(f"{name}: allocations less use: {differences}")


def fresh_name(prefix: str) -> str:
    """A database's name that no other test has."""
    return f"{prefix}{uuid.uuid4().hex}"


def all_settled(cloud: Cloud, seconds: float = 30.0) -> None:
    """Wait until no claim is held by a server that failed."""
    failed = select(func.count()).where(
        Allocation.server_id == Server.id, Server.vm_state == "error"
    )
    eventually(lambda: cloud.scalars(failed)[0] == 0, seconds, "failed servers hold no claims")
