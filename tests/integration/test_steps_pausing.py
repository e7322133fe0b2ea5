"""A worker dies before and after every step of what lets guests stand still, or speaks to them."""

from __future__ import annotations

import libvirt
import pytest
from sqlalchemy import select

from app.config import settings
from app.images.keys import load_keys
from app.models import Action
from app.sealing import SEALED, seal
from tests.cloud import eventually
from tests.integration.step_flows import HOST, STAGES, Flow
from tests.integration.step_walk import reached, walk_through
from tests.integration.stepping import Walk
from tests.integration.test_steps_power import NETWORK, RUNS, asks, running

pytest_plugins = ["tests.integration.virt_fixtures", "tests.integration.walk_fixtures"]

STANDS = ("succeeded", "paused", libvirt.VIR_DOMAIN_PAUSED)
IS_SAVED = ("succeeded", "suspended", libvirt.VIR_DOMAIN_SHUTOFF)


def paused(walk: Walk) -> str:
    return after(walk, "pause")


def suspended(walk: Walk) -> str:
    return after(walk, "suspend")


def after(walk: Walk, kind: str) -> str:
    """A server that something was done to."""
    server_id = walk.active()
    assert walk.cloud.finished(walk.request(server_id, kind)).state == "succeeded"
    return server_id


def brought_down(walk: Walk) -> str:
    """A paused server whose host went down as bin/down does it."""
    server_id = paused(walk)
    walk.zygotes[HOST].kill(HOST)
    walk.domain(server_id).managedSave(0)
    (walk.cloud.directory / "hosts/n1/stopping").touch()
    return server_id


def bring_up(walk: Walk, server_id: str) -> str:
    """The host's worker starts again; the id of the action that pauses the server again."""
    pauses = select(Action.id).where(Action.server_id == server_id, Action.kind == "pause")
    first = walk.cloud.scalars(pauses)
    walk.start(HOST)
    again = pauses.where(Action.id.not_in(first))
    return str(eventually(lambda: walk.cloud.scalars(again), 20, "it is paused again")[0])


def change_password(walk: Walk, server_id: str) -> str:
    sealed = seal(load_keys(settings().path("keys")), {"password": "secret"})
    return walk.request(server_id, "changePassword", **{"user": "root", SEALED: sealed})


PAUSE = Flow("pause", STAGES["pause"], ("pause.mark", "pause.stop"), STANDS, running, asks("pause"))
AGAIN = Flow(
    "pause, after bin/down",
    STAGES["pause"],
    (*NETWORK, "pause.start", "pause.mark", "pause.stop"),
    STANDS,
    brought_down,
    bring_up,
    walked=("pause.start",),
)
UNPAUSE = Flow(
    "unpause", STAGES["unpause"], ("unpause.mark", "unpause.run"), RUNS, paused, asks("unpause")
)
SUSPEND = Flow(
    "suspend",
    STAGES["suspend"],
    ("suspend.mark", "suspend.save"),
    IS_SAVED,
    running,
    asks("suspend"),
)
RESUME = Flow(
    "resume",
    STAGES["resume"],
    (*NETWORK, "start.restore", "start.mark"),
    RUNS,
    suspended,
    asks("resume"),
    known=NETWORK,
)
PASSWORD = Flow(
    "changePassword",
    STAGES["changePassword"],
    ("password.set", "password.mark"),
    RUNS,
    running,
    change_password,
)
DUMP = Flow(
    "trigger_crash_dump",
    STAGES["trigger_crash_dump"],
    ("crash_dump.nmi", "crash_dump.mark"),
    RUNS,
    running,
    asks("trigger_crash_dump"),
)
FLOWS = (PAUSE, AGAIN, UNPAUSE, SUSPEND, RESUME, PASSWORD, DUMP)


@pytest.mark.full
@pytest.mark.parametrize(
    ("flow", "moment"),
    [pytest.param(flow, m, id=f"{flow.name}: {m}") for flow in FLOWS for m in flow.moments],
)
def test_it_survives_a_death_at(walk: Walk, flow: Flow, moment: str) -> None:
    walk_through(walk, flow, moment)


@pytest.mark.parametrize(
    "flow", [flow for flow in FLOWS if flow is not AGAIN], ids=lambda flow: flow.name
)
def test_every_moment_of_it_is_known(walk: Walk, flow: Flow) -> None:
    assert reached(walk, flow) == set(flow.passed)


def test_what_was_secret_in_a_request_is_forgotten_at_its_end(walk: Walk) -> None:
    server_id = walk.active()
    action_id = change_password(walk, server_id)
    assert walk.cloud.finished(action_id).args == {"user": "root"}
    walk.leave_nothing(server_id)
