"""A worker dies before and after every step of a rebuild, a rescue and an unrescue."""

from __future__ import annotations

import libvirt
import pytest

from tests.integration.step_flows import STAGES, Flow
from tests.integration.step_walk import reached, walk_through
from tests.integration.stepping import Walk
from tests.integration.test_steps_power import IS_OFF, NETWORK, RUNS, asks, running, stopped

pytest_plugins = ["tests.integration.virt_fixtures", "tests.integration.walk_fixtures"]

DISKS = ("spawn.image", "disk.folder", "disk.overlay", "disk.name", "disk.config-drive")
SWAP = ("rebuild.kill", "rebuild.define", "rebuild.start", "rebuild.sweep")
IN_RESCUE = ("succeeded", "rescued", libvirt.VIR_DOMAIN_RUNNING)


def ask_rescue(walk: Walk, server_id: str) -> str:
    return walk.request(server_id, "rescue", image_id=walk.image)


def rescued(walk: Walk) -> str:
    server_id = walk.active()
    assert walk.cloud.finished(ask_rescue(walk, server_id)).state == "succeeded"
    return server_id


REBUILD = Flow(
    "rebuild",
    STAGES["rebuild"],
    (*DISKS, *NETWORK, *SWAP),
    RUNS,
    running,
    asks("rebuild"),
    known=("disk.folder", "disk.overlay", *NETWORK),
)
STOPPED = Flow(
    "rebuild, of a stopped one",
    STAGES["rebuild"],
    (*DISKS, *NETWORK, "rebuild.kill", "rebuild.define", "rebuild.sweep"),
    IS_OFF,
    stopped,
    asks("rebuild", stay_off=True),
    walked=("rebuild.define",),
)
RESCUE = Flow(
    "rescue",
    STAGES["rescue"],
    ("spawn.image", "rescue.overlay", "rescue.name", *NETWORK, *SWAP),
    IN_RESCUE,
    running,
    ask_rescue,
    known=("spawn.image", *NETWORK),
)
UNRESCUE = Flow(
    "unrescue",
    STAGES["unrescue"],
    (*NETWORK, *SWAP),
    RUNS,
    rescued,
    asks("unrescue"),
    known=NETWORK,
)
FLOWS = (REBUILD, STOPPED, RESCUE, UNRESCUE)


@pytest.mark.full
@pytest.mark.parametrize(
    ("flow", "moment"),
    [pytest.param(flow, m, id=f"{flow.name}: {m}") for flow in FLOWS for m in flow.moments],
)
def test_another_boot_survives_a_death_at(walk: Walk, flow: Flow, moment: str) -> None:
    walk_through(walk, flow, moment)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_moment_of_it_is_known(walk: Walk, flow: Flow) -> None:
    assert reached(walk, flow) == set(flow.passed)
