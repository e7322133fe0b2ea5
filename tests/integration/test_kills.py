"""A worker's death may mislead an inventory, or stop a build on its way to the next host.

Every step of every workflow has its death in test_steps_*.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Allocation, Cleanup, Host, Port
from tests.asking import add_image, adopt, caller, create, request
from tests.cloud import Cloud, eventually, running


@pytest.fixture(scope="module")
def mortal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud with one host; the tests restart what they killed."""
    directory: Path = tmp_path_factory.mktemp("mortal")
    (directory / "failpoints").mkdir()
    points = str(directory / "failpoints")
    made = Cloud(directory, settings={"failpoints": points, "fake_delay": "0.05"})
    with pytest.MonkeyPatch.context() as patch, running(made):
        adopt(made, patch)
        made.start_control()
        made.start_host("n1")
        made.hosts_up("n1")
        yield made


def doomed(cloud: Cloud, moment: str, ask: Callable[[], str], **settings: str) -> str:
    """Ask while a worker is doomed to die at `moment`; restart it; the action's id at its end."""
    control = moment.startswith("settle")
    name = "control" if control else "host-n1"
    victim = cloud.processes[name]
    (cloud.directory / "failpoints" / moment).touch()
    action_id = ask()
    eventually(lambda: victim.poll() is not None, 20, f"the worker dies at {moment}")
    assert victim.returncode == 137
    cloud.processes.pop(name)
    if control:
        cloud.start_control()
    else:
        cloud.start_host("n1", **settings)
    cloud.finished(action_id, 40)
    return action_id


def living(cloud: Cloud) -> str:
    """A server that runs."""
    who = caller(cloud)
    [(server_id, action_id)] = create(cloud, who, add_image(cloud, who.project_id))
    assert cloud.finished(action_id, 40).state == "succeeded"
    return server_id


def clean_slate(cloud: Cloud, *server_ids: str) -> None:
    """Delete the servers; then nothing of them may be left."""
    for server_id in server_ids:
        assert cloud.finished(request(caller(cloud), server_id, "delete"), 40).state == "succeeded"
    for table in (Allocation, Port, Cleanup):
        assert cloud.scalars(select(table)) == []
    assert cloud.scalars(select(Host))[0].used_ram_mb == 0
    assert all(
        server_id not in (cloud.directory / "hosts/n1/fake.json").read_text()
        for server_id in server_ids
    )


def test_a_guest_is_told_at_an_older_fence_while_its_message_is_not_done(mortal: Cloud) -> None:
    """Or an inventory from before a start would say, after it, that the guest stopped by itself."""
    server_id = living(mortal)
    mortal.finished(request(caller(mortal), server_id, "stop"))
    victim, redis = mortal.processes["host-n1"], mortal.redis()
    (mortal.directory / "failpoints" / "start.before").touch()
    action_id = request(caller(mortal), server_id, "start")
    eventually(lambda: victim.poll() is not None, 20, "the worker dies")
    mortal.processes.pop("host-n1")
    mortal.kill("control")  # or the start would be rung again at once
    redis.delete("inv:n1")
    mortal.start_host("n1")
    told = json.loads(str(eventually(lambda: redis.get("inv:n1"), 20, "an inventory")))
    (guest,) = [one for one in told["guests"] if one["server_id"] == server_id]
    assert (guest["fence"], guest["busy"]) == (mortal.server(server_id).fence - 1, False)
    mortal.start_control()
    assert mortal.finished(action_id, 40).state == "succeeded"
    assert mortal.server(server_id).vm_state == "active"
    clean_slate(mortal, server_id)


SPOILED = {"fake_faults": "spawn.late=always"}


@pytest.fixture(scope="module")
def spoiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """A cloud whose first host fails every build; the second one does not."""
    directory: Path = tmp_path_factory.mktemp("spoiled")
    (directory / "failpoints").mkdir()
    made = Cloud(directory, settings={"failpoints": str(directory / "failpoints")})
    with pytest.MonkeyPatch.context() as patch, running(made):
        adopt(made, patch)
        made.start_control()
        made.start_host("n1", **SPOILED)
        made.start_host("n2")
        made.hosts_up("n1", "n2")
        yield made


@pytest.mark.parametrize("moment", ["destroy.before", "destroy.after", "settle-destroy.after"])
def test_an_undo_survives_a_death_and_the_next_host_builds(spoiled: Cloud, moment: str) -> None:
    with Session(spoiled.engine) as session, session.begin():
        for host in session.scalars(select(Host)):
            host.failed_builds = int(host.name == "n2")  # so that n1 is tried first
    who = caller(spoiled)
    image = add_image(spoiled, who.project_id)
    servers: list[str] = []

    def ask() -> str:
        [(server_id, action_id)] = create(spoiled, who, image)
        servers.append(server_id)
        return action_id

    action = spoiled.action(doomed(spoiled, moment, ask, **SPOILED))
    assert (action.state, action.tried, action.host) == ("succeeded", ["n1"], "n2"), action.fault
    assert ("destroy", "undo", "succeeded") in spoiled.events(action.id)
    spoiled.hosts_up("n1", "n2")
    clean_slate(spoiled, *servers)
