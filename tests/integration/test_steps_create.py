"""A worker dies before and after every step of a create; the create still ends, with one guest."""

from __future__ import annotations

import libvirt
import pytest

from tests.integration.step_flows import STAGES, Flow
from tests.integration.step_walk import reached, walk_through
from tests.integration.stepping import Walk

pytest_plugins = ["tests.integration.virt_fixtures", "tests.integration.walk_fixtures"]

BUILD = (
    *("destroy.dhcp", "destroy.files", "spawn.image", "disk.folder", "disk.overlay", "disk.name"),
    *("disk.config-drive", "network.run", "network.dhcp", "spawn.define", "spawn.start"),
)


def nothing(walk: Walk) -> str:
    """The workflow makes its server itself."""
    return ""


def ask(walk: Walk, _: str) -> str:
    return walk.create()[1]


def lose_power(walk: Walk, server_id: str) -> None:
    """The guest and its network end while the worker is away."""
    walk.domain(server_id).destroy()
    for network in walk.link.listAllNetworks(libvirt.VIR_CONNECT_LIST_NETWORKS_ACTIVE):
        if network.name().startswith("nov-"):
            network.destroy()


RUNS = ("succeeded", "active", libvirt.VIR_DOMAIN_RUNNING)
CREATE = Flow(
    "create", STAGES["create"], (*BUILD, "commit.mark", "commit.resume"), RUNS, nothing, ask
)
# The second build has the first one's guest to remove. A third start is not made: the build is
# given up, and since dying says nothing of the host, the create is placed there once more.
TWICE = Flow(
    "create, killed before",
    (),
    ("destroy.kill", "destroy.undefine"),
    RUNS,
    nothing,
    ask,
    after="spawn.define.after",
    straight=False,
)
POWER = Flow(
    "create, power lost",
    (),
    ("commit.networks", "commit.start"),
    RUNS,
    nothing,
    ask,
    after="commit.mark.after",
    spoil=lose_power,
)
FLOWS = (CREATE, TWICE, POWER)


@pytest.mark.parametrize(
    ("flow", "moment"),
    [pytest.param(flow, m, id=f"{flow.name}: {m}") for flow in FLOWS for m in flow.moments],
)
def test_a_create_survives_a_death_at(walk: Walk, flow: Flow, moment: str) -> None:
    walk_through(walk, flow, moment)


def test_every_moment_of_a_create_has_its_case(walk: Walk) -> None:
    assert reached(walk, CREATE) == set(CREATE.passed)
