"""The recovery matrix: messages lost and doubled, web and scheduler workers that die."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Action, Quota
from tests.asking import add_image, adopt, caller, create
from tests.cloud import Cloud, eventually, running
from tests.http_client import Client
from tests.matrix import record
from tests.postman import Postman
from tests.thief import Thief

WELL = [(stage, "do", "succeeded") for stage in ("schedule", "claim", "build", "commit", "resume")]
DEATHS = ("schedule.before", "claim.after", "settle-build.before", "settle-build.after")


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud with the product's own times: web, a scheduler worker, a host."""
    directory: Path = tmp_path_factory.mktemp("steady")
    (directory / "failpoints").mkdir()
    points = str(directory / "failpoints")
    made = Cloud(directory, settings={"beat_seconds": "5", "failpoints": points})
    with pytest.MonkeyPatch.context() as patch, running(made):
        adopt(made, patch)
        made.start_control()
        made.start_host("n1")
        made.start_web()
        made.hosts_up("n1")
        with Session(made.engine) as session, session.begin():
            for resource in ("instances", "cores", "ram"):
                project_id = caller(made).project_id
                session.add(Quota(project_id=project_id, resource=resource, hard_limit=-1))
        yield made


def ends_well(cloud: Cloud, action_id: str) -> None:
    """The action succeeds, and no stage was done twice."""
    action = cloud.finished(action_id, 60)
    assert (action.state, action.tries, action.fault) == ("succeeded", 0, None)
    assert cloud.events(action_id) == WELL


# The chain's own messages, the host's, and its outcomes.
MESSAGES = {
    "schedule": ("scheduler", "novella.schedule"),
    "claim": ("scheduler", "novella.claim"),
    "build": ("host-n1", "novella.build"),
    "outcome": ("conductor", "novella.settle"),
    "resume": ("host-n1", "novella.resume"),
}


@pytest.mark.parametrize("lost", list(MESSAGES))
def test_a_lost_message_is_rung_again(steady: Cloud, lost: str) -> None:
    who = caller(steady)
    image = add_image(steady, who.project_id)
    thief = Thief(steady, *MESSAGES[lost])
    [(_, action_id)] = create(steady, who, image)
    thief.stolen()
    begun = time.monotonic()
    ends_well(steady, action_id)
    record("lost", lost, time.monotonic() - begun)


def test_a_doubled_message_changes_nothing(steady: Cloud) -> None:
    who = caller(steady)
    image = add_image(steady, who.project_id)
    made = []
    for doubled, where in MESSAGES.items():
        thief = Thief(steady, *where)
        [(_, action_id)] = create(steady, who, image)
        thief.put_back(times=2)
        begun = time.monotonic()
        ends_well(steady, action_id)
        record("doubled", doubled, time.monotonic() - begun)
        made.append(action_id)
    Postman(steady).quiet()
    assert all(steady.events(action_id) == WELL for action_id in made)


def test_web_dies_between_its_commit_and_its_ring(steady: Cloud) -> None:
    client = Client(f"http://127.0.0.1:{steady.web_port}")
    image = add_image(steady, caller(steady).project_id)
    before = set(steady.scalars(select(Action.id)))
    (steady.directory / "failpoints" / "accept.committed").touch()
    with pytest.raises(requests.ConnectionError):
        client.create(image)
    begun = time.monotonic()
    (action_id,) = set(steady.scalars(select(Action.id))) - before
    ends_well(steady, action_id)
    record("web", "accepted", time.monotonic() - begun)


def test_a_scheduler_worker_dies_at_any_line(steady: Cloud) -> None:
    who = caller(steady)
    image = add_image(steady, who.project_id)
    workers = {"control": steady.processes["control"]}
    for number in range(len(DEATHS)):  # whoever dies leaves another one
        name = f"control-{number}"
        steady.start_control(name)
        workers[name] = steady.processes[name]
    eventually(
        lambda: all("ready" in steady.log(name) for name in workers), 60, "all workers are ready"
    )
    for moment in DEATHS:
        (steady.directory / "failpoints" / moment).touch()
        living = {name: worker for name, worker in workers.items() if worker.poll() is None}
        [(_, action_id)] = create(steady, who, image)
        eventually(
            lambda living=living: any(one.poll() is not None for one in living.values()),
            20,
            f"a worker dies at {moment}",
        )
        begun = time.monotonic()
        ends_well(steady, action_id)
        record("scheduler", moment, time.monotonic() - begun)
    steady.processes = {n: p for n, p in steady.processes.items() if p.poll() is None}
