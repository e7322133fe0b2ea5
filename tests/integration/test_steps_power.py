"""A worker dies before and after every step of a stop, a start and a reboot; each still ends."""

from __future__ import annotations

from collections.abc import Callable

import libvirt
import pytest

from tests.integration.step_flows import HOST, STAGES, Flow
from tests.integration.step_walk import reached, walk_through
from tests.integration.stepping import Walk

pytest_plugins = ["tests.integration.virt_fixtures", "tests.integration.walk_fixtures"]

NETWORK, BOOT = ("network.run", "network.dhcp"), ("boot.define", "boot.start")
RUNS = ("succeeded", "active", libvirt.VIR_DOMAIN_RUNNING)
IS_OFF = ("succeeded", "stopped", libvirt.VIR_DOMAIN_SHUTOFF)


def asks(kind: str, **args: str) -> Callable[[Walk, str], str]:
    """Asks for an action of that kind."""
    return lambda walk, server_id: walk.request(server_id, kind, **args)


def running(walk: Walk) -> str:
    return walk.active()


def paused(walk: Walk) -> str:
    """It hears no power button."""
    server_id = walk.active()
    walk.domain(server_id).suspend()
    return server_id


def stopped(walk: Walk) -> str:
    server_id = walk.active()
    assert walk.cloud.finished(walk.request(server_id, "stop")).state == "succeeded"
    return server_id


def stopped_but_paused(walk: Walk) -> str:
    """Somebody started it on its host, paused, while no worker looked."""
    server_id = stopped(walk)
    walk.zygotes[HOST].kill(HOST)
    domain, before = walk.domain(server_id), walk.session()
    domain.create()
    domain.suspend()
    walk.start(HOST)
    walk.until_session_after(before)
    return server_id


STOP = Flow("stop", STAGES["stop"], ("stop.button", "stop.mark"), IS_OFF, running, asks("stop"))
FORCED = Flow(
    "stop, by force",
    STAGES["stop"],
    ("stop.button", "stop.force", "stop.mark"),
    IS_OFF,
    paused,
    asks("stop"),
    walked=("stop.force",),
)
START = Flow("start", STAGES["start"], (*NETWORK, *BOOT), RUNS, stopped, asks("start"))
UNPAUSE = Flow(
    "start, of a paused one",
    STAGES["start"],
    ("start.mark", "start.unpause"),
    RUNS,
    stopped_but_paused,
    asks("start"),
    walked=("start.mark", "start.unpause"),
)
SOFT = Flow(
    "reboot, soft",
    STAGES["reboot"],
    (*NETWORK, "stop.button", *BOOT),
    RUNS,
    running,
    asks("reboot", type="SOFT"),
)
HARD = Flow(
    "reboot, hard",
    STAGES["hard_reboot"],
    (*NETWORK, "stop.force", *BOOT),
    RUNS,
    running,
    asks("reboot", type="HARD"),
)
FLOWS = (STOP, FORCED, START, UNPAUSE, SOFT, HARD)


@pytest.mark.parametrize(
    ("flow", "moment"),
    [pytest.param(flow, m, id=f"{flow.name}: {m}") for flow in FLOWS for m in flow.moments],
)
def test_a_change_of_power_survives_a_death_at(walk: Walk, flow: Flow, moment: str) -> None:
    walk_through(walk, flow, moment)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_moment_of_it_is_known(walk: Walk, flow: Flow) -> None:
    assert reached(walk, flow) == set(flow.passed)
