"""One case of a walk: a death, the return, every message again; and what nobody disturbs."""

from __future__ import annotations

from sqlalchemy import select

from app import failpoints
from app.models import Cleanup
from tests.cloud import eventually
from tests.integration.step_flows import AMBIENT, HOST, Flow, is_lasting, worker_of
from tests.integration.stepping import Walk


def walk_through(walk: Walk, flow: Flow, moment: str) -> None:
    """One case: die at the moment, come back, get the message twice more, and again late."""
    server_id = flow.prepare(walk)
    action_id = walk.die_at(flow.after or moment, lambda: flow.ask(walk, server_id))
    server_id = server_id or walk.cloud.action(action_id).server_id
    if flow.after:
        flow.spoil(walk, server_id)
        walk.die_at(moment, lambda: walk.start(HOST))
    walk.keep(server_id, action_id)
    dead = walk.progress(server_id, action_id)
    life = walk.life(server_id) if is_lasting(moment) else -1
    name = worker_of(moment)
    walk.start(name)
    if walk.owes(server_id, action_id):
        # It goes on by the sweep's own ring: nothing else may be needed.
        eventually(lambda: walk.progress(server_id, action_id) != dead, 40, "it goes on")
    for message in [*walk.kept, *walk.keep(server_id, action_id)]:
        for _ in range(2):
            message.apply_async()
    walk.cloud.finished(action_id, 40)
    eventually(lambda: not walk.cloud.scalars(select(Cleanup)), 40, "the cleanup is done")
    walk.quiet()
    walk.well_ended(flow, server_id, action_id)
    assert life in (-1, walk.life(server_id)), "the guest that ran already was started again"
    before = walk.everything()
    walk.deliver_late()
    for name, found in walk.everything().items():
        if name == "missing_guests" and not found:
            continue  # an inventory of before the guest noted it, and the next one forgot it
        assert found == before[name], f"what came late changed {name}"
    walk.leave_nothing(server_id)


def reached(walk: Walk, flow: Flow) -> set[str]:
    """The moments that an undisturbed run of the workflow reaches, but for the ambient ones."""
    server_id = flow.prepare(walk)
    walk.quiet()
    trace = walk.points / failpoints.TRACE
    trace.touch()
    action_id = flow.ask(walk, server_id)
    walk.cloud.finished(action_id)
    walk.quiet()
    found = set(trace.read_text().split())
    trace.unlink()
    server_id = server_id or walk.cloud.action(action_id).server_id
    walk.well_ended(flow, server_id, action_id)
    walk.leave_nothing(server_id)
    return {moment for moment in found if moment.rpartition(".")[0] not in AMBIENT}
