"""The recovery matrix: hosts that fail, restart, stay away and return; the product's own times."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select, update

from app.domain.caller import Caller
from app.models import Action, Allocation, Cleanup, Host, Port
from tests.asking import add_image, adopt, caller, create
from tests.cloud import Cloud, eventually, running
from tests.matrix import record

RESUME_DEADLINE = 60.0
"""Instead of five minutes: the one time that is shortened here."""


def set_hosts(cloud: Cloud, *names: str, **columns: object) -> None:
    """Change columns of these hosts' rows."""
    with cloud.engine.begin() as connection:
        connection.execute(update(Host).where(Host.name.in_(names)).values(**columns))


def first_beat(cloud: Cloud, host: str) -> float:
    """Wait for the first heartbeat of a worker that was just started; when it came."""
    redis = cloud.redis()
    before = redis.get(f"hb:{host}")
    old = json.loads(str(before))["session"] if before else None

    def new() -> bool:
        told = redis.get(f"hb:{host}")
        return bool(told) and json.loads(str(told))["session"] != old

    eventually(new, 60, f"a beat of {host}")
    return time.monotonic()


def disks(cloud: Cloud, host: str) -> str:
    """What the host's hypervisor holds."""
    state = cloud.directory / f"hosts/{host}/fake.json"
    return state.read_text() if state.exists() else ""


def at(cloud: Cloud, action_id: str, stage: str) -> bool:
    """Whether the action stands at `stage` and its host has said that it began."""
    action = cloud.action(action_id)
    return action.stage == stage and action.stage_started_at is not None


def test_builds_leave_a_host_that_fails_them_and_end_when_none_is_left(cloud: Cloud) -> None:
    cloud.settings["beat_seconds"] = "5"
    cloud.start_control()
    cloud.start_host("n1", fake_faults="spawn.late=always")
    cloud.hosts_up("n1")
    who = caller(cloud)
    image = add_image(cloud, who.project_id)
    begun = time.monotonic()
    [(server_id, action_id)] = create(cloud, who, image)
    action = cloud.finished(action_id)
    record("no-host", "one host", time.monotonic() - begun)
    assert (action.state, (action.fault or {})["code"]) == ("failed", "no_valid_host")
    assert cloud.server(server_id).vm_state == "error"
    for table in (Allocation, Port, Cleanup):
        assert cloud.scalars(select(table)) == []
    assert {host.used_ram_mb for host in cloud.scalars(select(Host))} == {0}

    cloud.start_host("n2")
    cloud.hosts_up("n2")
    set_hosts(cloud, "n1", failed_builds=0)
    set_hosts(cloud, "n2", failed_builds=1)  # so that n1 is tried first
    begun = time.monotonic()
    [(_, action_id)] = create(cloud, who, image)
    action = cloud.finished(action_id)
    record("bad-host", "two hosts", time.monotonic() - begun)
    assert (action.state, action.tried, action.host) == ("succeeded", ["n1"], "n2")
    [(_, action_id)] = create(cloud, who, image)
    action = cloud.finished(action_id)
    assert (action.state, action.tried, action.host) == ("succeeded", [], "n2"), "n1 is avoided"


def test_a_host_worker_dies_in_mid_build_and_restarts(cloud: Cloud) -> None:
    cloud.settings["beat_seconds"] = "5"
    cloud.start_control()
    cloud.start_host("n1", fake_delay="60")
    cloud.hosts_up("n1")
    who = caller(cloud)
    [(_, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
    eventually(lambda: at(cloud, action_id, "build"), 20, "the build runs")
    cloud.kill("host-n1")
    cloud.start_host("n1", fake_delay="0.5")
    begun = first_beat(cloud, "n1")
    action = cloud.finished(action_id, 30)
    record("host-restarts", "mid-build", time.monotonic() - begun, "0.5 s of a build included")
    assert (action.state, action.tries, action.host) == ("succeeded", 0, "n1")


@dataclass
class Absence:
    """Three hosts: two workers die at once, with a server each between commit and resume.

    `late` was committed to n3, which stays away. `early` was committed to n1, which returns;
    `moved` was being built there.
    """

    cloud: Cloud
    who: Caller
    image: str
    early: tuple[str, str] = ("", "")
    late: tuple[str, str] = ("", "")
    moved: tuple[str, str] = ("", "")
    late_committed: float = 0.0
    died: float = 0.0

    def die(self, host: str, **settings: str) -> None:
        """Start a worker that dies when it is told to resume a guest."""
        points = self.cloud.directory / f"failpoints-{host}"
        points.mkdir()
        (points / "resume.before").touch()
        self.cloud.start_host(host, failpoints=str(points), **settings)
        self.cloud.hosts_up(host)

    def create(self) -> tuple[str, str]:
        """Ask for a server; (its id, its action's)."""
        [made] = create(self.cloud, self.who, self.image)
        return made

    def is_dead(self, host: str) -> bool:
        """Whether the host's worker died at its failpoint."""
        return self.cloud.processes[f"host-{host}"].poll() == 137

    def begin(self) -> None:
        """Bring it about that both workers are dead."""
        self.die("n3")
        self.late = self.create()
        eventually(lambda: self.is_dead("n3"), 20, "n3 dies before it resumes the guest")
        self.late_committed = time.monotonic()
        set_hosts(self.cloud, "n3", enabled=False)  # or it would get servers for half a minute
        self.die("n1", fake_delay="12")
        self.early = self.create()
        eventually(lambda: self.early[0] in self.cloud.log("host-n1"), 20, "the first build runs")
        begun = time.monotonic()
        eventually(lambda: time.monotonic() - begun > 2, 5, "the second begins later")
        self.moved = self.create()
        eventually(lambda: self.moved[0] in disks(self.cloud, "n1"), 20, "the second has a disk")
        assert not self.is_dead("n1")
        self.cloud.start_host("n2")
        eventually(lambda: self.is_dead("n1"), 20, "n1 dies before it resumes the guest")
        self.died = time.monotonic()


@pytest.fixture(scope="module")
def absence(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Absence]:
    """The tests below follow one course of events."""
    directory: Path = tmp_path_factory.mktemp("absence")
    settings = {"beat_seconds": "5", "resume_deadline": str(RESUME_DEADLINE)}
    made = Cloud(directory, settings=settings)
    with pytest.MonkeyPatch.context() as patch, running(made):
        adopt(made, patch)
        made.start_control()
        who = caller(made)
        story = Absence(made, who, add_image(made, who.project_id))
        story.begin()
        yield story


def test_a_build_leaves_a_host_that_stays_away(absence: Absence) -> None:
    cloud, (server_id, action_id) = absence.cloud, absence.moved
    action = cloud.finished(action_id, 90)
    record("host-away", "mid-build", time.monotonic() - absence.died)
    assert (action.state, action.host, action.tried) == ("succeeded", "n2", ["n1"]), action.fault
    assert [(one.server_id, one.host) for one in cloud.scalars(select(Cleanup))] == [
        (server_id, "n1")
    ]
    assert len(cloud.scalars(select(Allocation).where(Allocation.server_id == server_id))) == 2


def test_two_of_three_hosts_that_are_down_are_declared_down(absence: Absence) -> None:
    states = {host.name: host.state for host in absence.cloud.scalars(select(Host))}
    assert states == {"n1": "down", "n2": "up", "n3": "down"}
    assert absence.cloud.action(absence.early[1]).finished_at is None, "it waits for its host"


def test_a_host_returns_after_its_server_moved(absence: Absence) -> None:
    cloud = absence.cloud
    assert absence.moved[0] in disks(cloud, "n1")
    cloud.processes.pop("host-n1").wait(1)
    cloud.start_host("n1")
    begun = first_beat(cloud, "n1")
    action = cloud.finished(absence.early[1], 30)
    record("commit-returns", "create", time.monotonic() - begun)
    assert (action.state, action.host, action.tries) == ("succeeded", "n1", 0), action.fault
    eventually(lambda: absence.moved[0] not in disks(cloud, "n1"), 30, "what moved is removed")
    owed = select(Cleanup).where(Cleanup.server_id == absence.moved[0])
    eventually(lambda: not cloud.scalars(owed), 30, "nothing is owed")
    record("host-returns", "moved", time.monotonic() - begun)
    held = select(Allocation.host).where(Allocation.server_id == absence.moved[0])
    assert cloud.scalars(held) == ["n2"]
    assert absence.moved[0] in disks(cloud, "n2")


def test_a_host_that_stays_away_after_the_commit_costs_its_server_not_its_claim(
    absence: Absence,
) -> None:
    cloud, (server_id, action_id) = absence.cloud, absence.late
    action = cloud.finished(action_id, 120)
    measured = time.monotonic() - absence.late_committed
    assert measured < RESUME_DEADLINE + 15
    note = f"with a deadline of {RESUME_DEADLINE:.0f} s instead of 300"
    record("commit-away", "create", measured, note)
    assert (action.state, (action.fault or {})["message"]) == ("failed", "host lost while starting")
    assert (cloud.server(server_id).vm_state, cloud.server(server_id).host) == ("error", "n3")
    held = select(Allocation.host).where(Allocation.server_id == server_id)
    assert cloud.scalars(held) == ["n3"]
    assert cloud.scalars(select(Action.id).where(Action.finished_at.is_(None))) == []
