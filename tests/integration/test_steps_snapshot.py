"""A worker dies before and after every step of a snapshot; the image is still made, once."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.models import Image
from app.store import snapshots
from app.store.database import transaction
from app.tasks import publish
from tests.asking import caller
from tests.integration.step_flows import STAGES, Flow
from tests.integration.step_walk import reached, walk_through
from tests.integration.stepping import Walk
from tests.integration.test_steps_power import RUNS, running

pytest_plugins = ["tests.integration.virt_fixtures", "tests.integration.walk_fixtures"]


def ask(walk: Walk, server_id: str, **backup: object) -> str:
    """A createImage, or a createBackup; the action's id."""
    wanted = snapshots.WantedImage("copy", {}, **backup)  # type: ignore[arg-type]
    with transaction() as session:
        action, _ = snapshots.make(session, caller(walk.cloud), server_id, wanted)
    publish.ring([action])
    return action.id


def backup(walk: Walk, server_id: str) -> str:
    return ask(walk, server_id, backup_type="daily", rotation=1)


STEPS = ("snapshot.copy", "snapshot.name", "snapshot.send", "snapshot.discard")
IMAGE = Flow("createImage", STAGES["createImage"], STEPS, RUNS, running, ask)
BACKUP = Flow(
    "createBackup", STAGES["createBackup"], STEPS, RUNS, running, backup, walked=("snapshot.send",)
)
FLOWS = (IMAGE, BACKUP)


@pytest.mark.full
@pytest.mark.parametrize(
    ("flow", "moment"),
    [pytest.param(flow, m, id=f"{flow.name}: {m}") for flow in FLOWS for m in flow.moments],
)
def test_a_snapshot_survives_a_death_at(walk: Walk, flow: Flow, moment: str) -> None:
    before = set(images(walk))
    walk_through(walk, flow, moment)
    [made] = set(images(walk)) - before
    assert made[0] == "active"
    kept = walk.cloud.directory / "images" / str(made[1])
    assert kept.stat().st_size == made[2]


def images(walk: Walk) -> list[tuple[str, str | None, int | None]]:
    """Status, file and size of every image."""
    found = walk.cloud.scalars(select(Image))
    return [(image.status, image.file_name, image.size) for image in found]


def test_every_moment_of_it_is_known(walk: Walk) -> None:
    assert reached(walk, IMAGE) == set(IMAGE.passed)
