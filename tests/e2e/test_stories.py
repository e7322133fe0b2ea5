"""Stories of trouble on real hypervisors: an outcome lost, a host cut off, a database restored.

docs/reliability.md lists which test tells which story.
"""

from __future__ import annotations

import json
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt
import pytest
from sqlalchemy import select

from app.models import Action, Allocation, Cleanup, Host, Port
from tests.cloud import Cloud, eventually, running
from tests.e2e.conftest import LIBVIRT
from tests.e2e.listing import listing, unchanged
from tests.http_client import Client
from tests.integration.virt_fixtures import OwnLibvirtd
from tests.thief import Thief


@pytest.fixture(scope="module")
def cloud(
    tmp_path_factory: pytest.TempPathFactory, hypervisors: Callable[[str], OwnLibvirtd]
) -> Iterator[Cloud]:
    """A cloud with web, whose hosts are missed after ten seconds; n2 is for emergencies."""
    settings = {"driver": LIBVIRT, "virt_type": "qemu", "shutdown_seconds": "1"}
    settings |= {"down_after": "10", "session_seconds": "6", "inventory_seconds": "2"}
    with running(Cloud(tmp_path_factory.mktemp("stories"), settings=settings)) as made:
        made.start_web()
        made.start_control()
        for host in ("n1", "n2"):
            made.start_host(host, libvirt_uri=hypervisors(host).uri)
        made.hosts_up("n1", "n2", seconds=60)
        service(made, "disable", "n2")
        yield made


@pytest.fixture(scope="module")
def image(cloud: Cloud, tiny_image: Path) -> str:
    """The tiny image."""
    return client_of(cloud).upload(tiny_image)


def client_of(cloud: Cloud) -> Client:
    """The cloud's member."""
    return Client(f"http://127.0.0.1:{cloud.web_port}")


def service(cloud: Cloud, verb: str, host: str) -> None:
    """Take a host out of the scheduler's choice (`disable`), or put it back (`enable`)."""
    admin = Client(f"http://127.0.0.1:{cloud.web_port}", "admin")
    body = {"host": host, "binary": "nova-compute"}
    admin.call("PUT", f"/compute/v2.1/os-services/{verb}", json=body)


def well(client: Client, *tasks: str) -> None:
    """All tasks end well."""
    for task_id in tasks:
        task = client.finished(task_id, 120)
        assert task["state"] == "succeeded", (task["kind"], task["fault"])


def told(cloud: Cloud, process: str, server_id: str) -> list[str]:
    """What a worker logged of a server."""
    lines = [json.loads(line) for line in cloud.log(process).splitlines() if line[:1] == "{"]
    return [line["event"] for line in lines if line.get("server_id") == server_id]


def guests(own: OwnLibvirtd) -> dict[str, tuple[int, int]]:
    """Each domain's state and number; a start gives a new number."""
    connection = libvirt.open(own.uri)
    try:
        return {
            domain.UUIDString(): (domain.state()[0], domain.ID())
            for domain in connection.listAllDomains()
        }
    finally:
        connection.close()


class Watcher:
    """Sees which guests run where, as the libvirtds tell it, until it is closed."""

    def __init__(self, *hosts: OwnLibvirtd) -> None:
        self._links = [libvirt.open(own.uri) for own in hosts]
        self.started: list[set[str]] = [set() for _ in hosts]
        self.doubled: set[str] = set()
        self.looks = 0
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._end.wait(0.05):
            running = [self._running(link) for link in self._links]
            for now, ever in zip(running, self.started, strict=True):
                ever |= now
            self.doubled |= set.intersection(*running) if len(running) > 1 else set()
            self.looks += 1

    @staticmethod
    def _running(link: libvirt.virConnect) -> set[str]:
        found = link.listAllDomains(libvirt.VIR_CONNECT_LIST_DOMAINS_RUNNING)
        return {domain.UUIDString() for domain in found}

    def close(self) -> None:
        """Look no more."""
        self._end.set()
        self._thread.join(10)
        for link in self._links:
            link.close()


def test_a_lost_outcome_is_told_again_and_nothing_is_built_twice(
    cloud: Cloud, hypervisors: Callable[[str], OwnLibvirtd], image: str
) -> None:
    n1 = hypervisors("n1")
    client = client_of(cloud)
    before = listing(n1, cloud)
    thief = Thief(cloud, "conductor", "novella.settle", seconds=60)
    server_id, task_id = client.create(image)
    thief.stolen(60)
    built = guests(n1)
    assert built == {server_id: (libvirt.VIR_DOMAIN_PAUSED, built[server_id][1])}
    instances = cloud.directory / "hosts/n1/instances"
    disks = {path: path.stat().st_ino for path in instances.rglob("*") if path.is_file()}
    assert disks
    well(client, task_id)
    assert guests(n1) == {server_id: (libvirt.VIR_DOMAIN_RUNNING, built[server_id][1])}
    assert {path: path.stat().st_ino for path in disks} == disks
    # build, build again, resume: each was answered, and only one of the builds was work.
    assert told(cloud, "host-n1", server_id).count("received") == 3
    assert told(cloud, "host-n1", server_id).count("done") == 3
    assert [(one, result) for one, _, result in cloud.events(task_id)].count(
        ("build", "succeeded")
    ) == 1
    well(client, client.delete(server_id))
    unchanged(n1, cloud, before)


def test_a_host_that_was_cut_off_and_given_up_runs_nothing_old_when_it_returns(
    cloud: Cloud, hypervisors: Callable[[str], OwnLibvirtd], image: str
) -> None:
    n1, n2 = hypervisors("n1"), hypervisors("n2")
    client = client_of(cloud)
    before = listing(n1, cloud), listing(n2, cloud, "n2")
    (kept, one), (deleted, two) = client.create(image, "kept"), client.create(image, "deleted")
    well(client, one, two)

    # Built on n1, but its outcome never arrives, for n1 is cut off at that moment.
    thief = Thief(cloud, "conductor", "novella.settle", seconds=60)
    moved, moving = client.create(image, "moved")
    thief.stolen(60)
    worker = cloud.processes["host-n1"]
    worker.send_signal(signal.SIGSTOP)
    assert guests(n1)[moved][0] == libvirt.VIR_DOMAIN_PAUSED

    queued = [client.create(image, f"queued-{number}") for number in range(2)]
    waiting = [client.act(kept, reboot={"type": "HARD"})]
    pre_empted = client.act(deleted, reboot={"type": "HARD"})
    eventually(lambda: cloud.redis().llen("host-n1") >= 3, 20, "n1's queue is full")
    placed = [cloud.server(server_id).host for server_id, _ in queued]
    assert placed == ["n1", "n1"]
    service(cloud, "enable", "n2")
    watcher = Watcher(n1, n2)
    well(client, moving, *(task_id for _, task_id in queued))
    assert {cloud.server(one).host for one in (moved, *(one for one, _ in queued))} == {"n2"}
    service(cloud, "disable", "n2")
    well(client, client.delete(deleted))
    assert client.task(pre_empted)["state"] == "cancelled"
    assert set(guests(n1)) == {kept, deleted, moved}, "n1 does not know yet"

    assert cloud.redis().llen("host-n1") >= 3
    numbers = guests(n1)
    seen = watcher.looks
    worker.send_signal(signal.SIGCONT)
    cloud.hosts_up("n1")
    well(client, *waiting)
    eventually(lambda: set(guests(n1)) == {kept}, 30, "what moved and what was deleted is removed")
    eventually(lambda: not cloud.scalars(select(Cleanup)), 30, "nothing is owed")
    eventually(lambda: watcher.looks > seen + 40, 20, "the watcher has seen it")
    watcher.close()
    assert watcher.doubled == set()
    assert watcher.started[0] == {kept, deleted}, "nothing old was started on n1"
    assert guests(n1)[kept][1] != numbers[kept][1], "what was still wanted was done"
    assert "dropped: sent to another session" in cloud.log("host-n1")
    held = {(row.server_id, row.host) for row in cloud.scalars(select(Allocation))}
    living = [moved, *(server_id for server_id, _ in queued)]
    assert held == {(kept, "n1"), *((server_id, "n2") for server_id in living)}

    well(client, *(client.delete(server_id) for server_id in (kept, *living)))
    unchanged(n1, cloud, before[0])
    unchanged(n2, cloud, before[1], "n2")
    for table in (Allocation, Port, Cleanup):  # an inventory from before may have asked again
        eventually(lambda table=table: not cloud.scalars(select(table)), 20, "nothing is held")


def kept_on(own: OwnLibvirtd, cloud: Cloud) -> dict[str, object]:
    """What a host keeps of the cloud's servers."""
    return {name: listing(own, cloud)[name] for name in ("domains", "dhcp", "files")}


def copy_database(source: Path, target: Path) -> None:
    """Write all of a SQLite database over another."""
    with sqlite3.connect(source) as old, sqlite3.connect(target) as new:
        old.backup(new)
    old.close()
    new.close()


def test_a_database_restored_to_an_older_backup_destroys_nothing(
    cloud: Cloud, hypervisors: Callable[[str], OwnLibvirtd], image: str
) -> None:
    n1 = hypervisors("n1")
    client = client_of(cloud)
    known, task_id = client.create(image, "known")
    gone, another = client.create(image, "deleted later")
    well(client, task_id, another)
    database, backup = cloud.directory / "cloud.sqlite", cloud.directory / "backup.sqlite"
    copy_database(database, backup)
    unknown, task_id = client.create(image, "made later")
    well(client, task_id, client.act(known, reboot={"type": "HARD"}), client.delete(gone))
    before, files = guests(n1), kept_on(n1, cloud)
    assert set(before) == {known, unknown}

    for process in ("web", "control"):
        cloud.kill(process)
    copy_database(backup, database)
    cloud.start_web()
    cloud.start_control()
    eventually(
        lambda: all("nothing is touched" in str(told(cloud, "control", one)) for one in before),
        30,
        "both guests are reported",
    )
    # Asked to do something with it, the host says that it knows more; and does not do it.
    client = client_of(cloud)
    task = client.finished(client.act(known, **{"os-stop": None}))
    assert task["state"] == "failed"
    assert "restored from a backup" in task["fault"]["message"]
    lost = select(Action.id).where(Action.finished_at.is_(None))
    eventually(lambda: not cloud.scalars(lost), 30, "nothing is under way")
    heard = cloud.log("control").count("nothing is touched")
    eventually(
        lambda: cloud.log("control").count("nothing is touched") >= heard + 4, 30, "looked at twice"
    )
    assert guests(n1) == before
    assert kept_on(n1, cloud) == files
    assert cloud.scalars(select(Cleanup)) == []
    assert cloud.scalars(select(Host.state)) == ["up", "up"]
