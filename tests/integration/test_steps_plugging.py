"""A worker dies before and after every step of an interface's coming and going."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.domain.new_servers import WantedNic
from app.models import Port
from app.store import interfaces
from app.store.database import transaction
from app.tasks import publish
from tests.asking import caller
from tests.integration.step_flows import STAGES, Flow
from tests.integration.step_walk import reached, walk_through
from tests.integration.stepping import Walk
from tests.integration.test_steps_power import NETWORK, RUNS, running

pytest_plugins = ["tests.integration.virt_fixtures", "tests.integration.walk_fixtures"]


def ask_attach(walk: Walk, server_id: str) -> str:
    wanted = [WantedNic(walk.cloud.default_network())]
    with transaction() as session:
        action, _, _ = interfaces.attach(session, caller(walk.cloud), server_id, wanted)
    publish.ring([action])
    return action.id


def attached(walk: Walk) -> str:
    server_id = walk.active()
    assert walk.cloud.finished(ask_attach(walk, server_id)).state == "succeeded"
    return server_id


def ask_detach(walk: Walk, server_id: str) -> str:
    """The first one goes, so that the other is the first by then."""
    ports = select(Port.id).where(Port.server_id == server_id).order_by(Port.position)
    with transaction() as session:
        port_id = walk.cloud.scalars(ports)[0]
        action = interfaces.detach(session, caller(walk.cloud), server_id, port_id)
    publish.ring([action])
    return action.id


ATTACH = Flow(
    "attach",
    STAGES["attach_interface"],
    (*NETWORK, "attach.plug", "attach.mark"),
    RUNS,
    running,
    ask_attach,
)
DETACH = Flow(
    "detach",
    STAGES["detach_interface"],
    (*NETWORK, "detach.unplug", "detach.dhcp", "detach.mark"),
    RUNS,
    attached,
    ask_detach,
    known=NETWORK,
)
FLOWS = (ATTACH, DETACH)


@pytest.mark.full
@pytest.mark.parametrize(
    ("flow", "moment"),
    [pytest.param(flow, m, id=f"{flow.name}: {m}") for flow in FLOWS for m in flow.moments],
)
def test_an_interface_survives_a_death_at(walk: Walk, flow: Flow, moment: str) -> None:
    walk_through(walk, flow, moment)


@pytest.mark.parametrize("flow", FLOWS, ids=lambda flow: flow.name)
def test_every_moment_of_it_is_known(walk: Walk, flow: Flow) -> None:
    assert reached(walk, flow) == set(flow.passed)
