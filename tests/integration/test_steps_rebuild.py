"""A worker dies before and after every step of a rebuild, a rescue and an unrescue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import libvirt
import pytest

from tests.integration.step_flows import HOST, STAGES, Flow
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


@contextmanager
def corrupt_image(walk: Walk) -> Iterator[None]:
    """The host has the image no more, and what it would get is not it."""
    for cached in (walk.cloud.directory / "hosts/n1/cache").glob("*.image"):
        cached.unlink()
    [data] = (walk.cloud.directory / "images").iterdir()
    whole = data.read_bytes()
    data.write_bytes(bytes(len(whole)))
    yield
    data.write_bytes(whole)


@pytest.mark.parametrize("ask", [asks("rebuild"), ask_rescue], ids=["rebuild", "rescue"])
def test_a_guest_that_a_dead_worker_ended_runs_again_when_the_image_is_corrupt(
    walk: Walk, ask: Callable[[Walk, str], str]
) -> None:
    server_id = running(walk)
    action_id = walk.die_at("rebuild.kill.after", lambda: ask(walk, server_id))
    assert walk.domain(server_id).state()[0] == libvirt.VIR_DOMAIN_SHUTOFF
    with corrupt_image(walk):
        walk.start(HOST)
        ended = walk.cloud.finished(action_id, 40)
    assert (ended.state, walk.cloud.server(server_id).vm_state) == ("failed", "active"), ended.fault
    assert walk.domain(server_id).state()[0] == libvirt.VIR_DOMAIN_RUNNING
    walk.quiet()
    assert walk.cloud.server(server_id).vm_state == "active"
    walk.leave_nothing(server_id)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_moment_of_it_is_known(walk: Walk, flow: Flow) -> None:
    assert reached(walk, flow) == set(flow.passed)
