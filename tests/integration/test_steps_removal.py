"""A worker dies before and after every step of a removal, a report and what goes on beside them."""

from __future__ import annotations

from collections.abc import Callable

import libvirt
import pytest
from sqlalchemy import select

from app.models import Action, Server
from app.store import hosts_admin
from app.store import servers as server_rows
from app.store.database import transaction
from app.tasks import publish
from tests.asking import caller
from tests.cloud import eventually
from tests.integration.step_flows import AMBIENT, CONTROL, HOST, STAGES, Flow, worker_of
from tests.integration.step_walk import reached, walk_through
from tests.integration.stepping import Walk

pytest_plugins = ["tests.integration.virt_fixtures", "tests.integration.walk_fixtures"]

REMOVAL = ("destroy.kill", "destroy.undefine", "destroy.dhcp", "destroy.files")


def running(walk: Walk) -> str:
    return walk.active()


def cancel(walk: Walk, server_id: str) -> None:
    """What was built is to be taken back, before anybody heard that it was built."""
    [action_id] = walk.cloud.scalars(select(Action.id).where(Action.server_id == server_id))
    who = caller(walk.cloud)
    with transaction() as session:
        server_rows.cancel(session, who, action_id)


def deleted_while_down(walk: Walk) -> str:
    """A server that went while its host was down: the host owes its removal."""
    server_id = walk.active()
    walk.zygotes[HOST].kill(HOST)
    action_id = walk.request(server_id, "delete")
    force_down(True)
    assert walk.cloud.finished(action_id).state == "succeeded"
    return server_id


def come_back(walk: Walk, server_id: str) -> str:
    """The host's worker starts again; the id of the action that left the removal to it."""
    force_down(False)
    walk.start(HOST)
    deletes = select(Action.id).where(Action.server_id == server_id, Action.kind == "delete")
    return str(walk.cloud.scalars(deletes)[0])


def force_down(down: bool) -> None:
    """What an operator says of n1."""
    with transaction() as session:
        hosts_admin.change(session, "n1", {"forced_down": down})


def raise_fence(walk: Walk, server_id: str) -> str:
    """As after a deadline: the host is behind, and its next inventory shows it; the sync's id."""
    with transaction() as session:
        server = session.get(Server, server_id)
        assert server is not None
        server.fence += 1
    walk.domain(server_id).suspend()
    syncs = select(Action.id).where(Action.server_id == server_id, Action.kind == "sync")
    return str(eventually(lambda: walk.cloud.scalars(syncs), 20, "the host is asked")[0])


DELETE = Flow(
    "delete",
    STAGES["delete"],
    REMOVAL,
    ("succeeded", "deleted", None),
    running,
    lambda walk, server_id: walk.request(server_id, "delete"),
)
UNDO = Flow(
    "undo",
    ("destroy",),
    REMOVAL,
    ("cancelled", "error", None),
    lambda walk: "",
    lambda walk, _: walk.create()[1],
    after="build.after",
    spoil=cancel,
    straight=False,
)
CLEANUP = Flow(
    "cleanup",
    ("destroy",),
    REMOVAL,
    ("succeeded", "deleted", None),
    deleted_while_down,
    come_back,
    straight=False,
)
SYNC = Flow(
    "sync",
    STAGES["sync"],
    (),
    ("succeeded", "active", libvirt.VIR_DOMAIN_PAUSED),
    running,
    raise_fence,
)
FLOWS = (DELETE, UNDO, CLEANUP, SYNC)


@pytest.mark.parametrize(
    ("flow", "moment"),
    [pytest.param(flow, m, id=f"{flow.name}: {m}") for flow in FLOWS for m in flow.moments],
)
def test_a_removal_survives_a_death_at(walk: Walk, flow: Flow, moment: str) -> None:
    walk_through(walk, flow, moment)


@pytest.mark.parametrize("flow", [DELETE, SYNC], ids=lambda flow: flow.name)
def test_every_moment_of_it_is_known(walk: Walk, flow: Flow) -> None:
    assert reached(walk, flow) == set(flow.passed)


@pytest.mark.parametrize(
    "moment", [f"{one}.{m}" for one in sorted(AMBIENT) for m in ("before", "after")]
)
def test_what_guests_do_is_heard_of_after_a_death_at(walk: Walk, moment: str) -> None:
    server_id = walk.active()
    walk.quiet()

    def power_off() -> None:
        walk.domain(server_id).destroy()

    at_start = moment.startswith(("open.", "tidy."))
    if at_start:
        walk.zygotes[HOST].kill(HOST)
    dies: Callable[[], None] = (lambda: walk.start(HOST)) if at_start else power_off
    walk.die_at(moment, dies)
    walk.start(worker_of(moment))
    if at_start:
        power_off()
    again = publish.control(publish.publisher(), "reconcile", "n1")
    eventually(lambda: walk.cloud.server(server_id).vm_state == "stopped", 20, "it is known as off")
    for _ in range(2):
        again.apply_async()
    walk.quiet()
    assert walk.cloud.server(server_id).vm_state == "stopped"
    assert walk.here()["domains"] == {server_id: libvirt.VIR_DOMAIN_SHUTOFF}
    walk.cloud.hosts_up("n1")
    walk.leave_nothing(server_id)
    assert all(one.pids for name, one in walk.zygotes.items() if name in (HOST, CONTROL))
