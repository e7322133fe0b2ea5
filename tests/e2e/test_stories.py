"""Stories of trouble on real hypervisors: an outcome lost, a host cut off, a database restored.

docs/reliability.md lists which test tells which story.
"""

from __future__ import annotations

import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import libvirt
import pytest
from sqlalchemy import select

from app.models import Action, Allocation, Cleanup, Host, Port
from tests.cloud import Cloud, eventually, running
from tests.e2e.conftest import LIBVIRT
from tests.e2e.listing import listing, unchanged
from tests.e2e.watcher import Watcher, guests
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


def told(cloud: Cloud, process: str, server_id: str) -> list[dict[str, str]]:
    """What a worker logged of a server."""
    lines = [json.loads(line) for line in cloud.log(process).splitlines() if line[:1] == "{"]
    return [line for line in lines if line.get("server_id") == server_id]


def done(cloud: Cloud, host: str, server_id: str) -> list[str]:
    """The stages that a host's worker answered, in their order."""
    lines = told(cloud, host, server_id)
    return [line["stage"] for line in lines if line["event"] == "done"]


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
    # Answered twice, and only once was it work.
    assert done(cloud, "host-n1", server_id) == ["build", "build", "resume"]
    assert cloud.events(task_id).count(("build", "do", "succeeded")) == 1
    well(client, client.delete(server_id))
    unchanged(n1, cloud, before)


@dataclass
class CutOff:
    """Servers of n1 at the moment when it is cut off, and what is asked of it then."""

    cloud: Cloud
    client: Client
    image: str
    kept: str = ""
    deleted: str = ""
    moved: str = ""
    queued: list[str] = field(default_factory=list)
    moving: list[str] = field(default_factory=list)
    reboots: list[str] = field(default_factory=list)

    @property
    def living(self) -> list[str]:
        """What runs on n2 in the end."""
        return [self.moved, *self.queued]

    def create(self, name: str) -> tuple[str, str]:
        """Ask for a server."""
        return self.client.create(self.image, name)

    def begin(self, n1: OwnLibvirtd) -> None:
        """Two servers run on n1; a third is built there, but its outcome never arrives."""
        (self.kept, one), (self.deleted, two) = self.create("kept"), self.create("deleted")
        well(self.client, one, two)
        thief = Thief(self.cloud, "conductor", "novella.settle", seconds=60)
        self.moved, moving = self.create("moved")
        thief.stolen(60)
        self.cloud.processes["host-n1"].send_signal(signal.SIGSTOP)
        assert guests(n1)[self.moved][0] == libvirt.VIR_DOMAIN_PAUSED
        self.moving = [moving]

    def fill_queue(self) -> None:
        """While n1 still counts as up, more is sent to it."""
        for number in range(2):
            server_id, task_id = self.create(f"queued-{number}")
            self.queued.append(server_id)
            self.moving.append(task_id)
        self.reboots = [
            self.client.act(server_id, reboot={"type": "HARD"})
            for server_id in (self.kept, self.deleted)
        ]
        eventually(
            lambda: [self.cloud.server(one).host for one in self.queued] == ["n1", "n1"],
            20,
            "both are placed on n1",
        )
        eventually(lambda: self.cloud.redis().llen("host-n1") >= 3, 20, "n1's queue is full")

    def give_up(self) -> None:
        """n1 is declared down: what was not committed to it moves, and one server is deleted."""
        service(self.cloud, "enable", "n2")
        well(self.client, *self.moving)
        assert {self.cloud.server(server_id).host for server_id in self.living} == {"n2"}
        service(self.cloud, "disable", "n2")
        well(self.client, self.client.delete(self.deleted))
        assert self.client.task(self.reboots[1])["state"] == "cancelled"

    def come_back(self, n1: OwnLibvirtd) -> None:
        """n1 goes on where it stood, with its old queue before it."""
        assert set(guests(n1)) == {self.kept, self.deleted, self.moved}, "n1 does not know yet"
        assert self.cloud.redis().llen("host-n1") >= 3
        self.cloud.processes["host-n1"].send_signal(signal.SIGCONT)
        self.cloud.hosts_up("n1")
        well(self.client, self.reboots[0])
        eventually(lambda: set(guests(n1)) == {self.kept}, 30, "what moved or was deleted is gone")
        eventually(lambda: not self.cloud.scalars(select(Cleanup)), 30, "nothing is owed")


def test_a_host_that_was_cut_off_and_given_up_runs_nothing_old_when_it_returns(
    cloud: Cloud, hypervisors: Callable[[str], OwnLibvirtd], image: str
) -> None:
    n1, n2 = hypervisors("n1"), hypervisors("n2")
    before = listing(n1, cloud), listing(n2, cloud, "n2")
    story = CutOff(cloud, client_of(cloud), image)
    story.begin(n1)
    story.fill_queue()
    with closing(Watcher(n1, n2)) as watcher:
        story.give_up()
        number = guests(n1)[story.kept][1]
        story.come_back(n1)
        seen = watcher.looks
        eventually(lambda: watcher.looks > seen + 20, 20, "the watcher has seen it")
    assert watcher.doubled == set()
    assert watcher.started[0] == {story.kept, story.deleted}, "nothing old was started on n1"
    assert watcher.started[1] == set(story.living)
    assert guests(n1)[story.kept][1] != number, "what was still wanted was done"
    for server_id in story.queued:
        assert done(cloud, "host-n1", server_id) == ["destroy"], "nor was anything old built"
    assert "dropped: sent to another session" in cloud.log("host-n1")
    held = {(row.server_id, row.host) for row in cloud.scalars(select(Allocation))}
    assert held == {(story.kept, "n1"), *((server_id, "n2") for server_id in story.living)}

    well(story.client, *map(story.client.delete, (story.kept, *story.living)))
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
