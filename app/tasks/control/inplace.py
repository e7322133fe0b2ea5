"""How operations in place end: on the guest's host, at the server's fence."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.domain.advice import advised
from app.domain.guest import CRASHED, RUNNING, SHUTDOWN
from app.domain.message import DONE, Fault, Outcome
from app.domain.states import ACTIVE, KINDS, PAUSED, STOPPED
from app.models import Action, Server
from app.store import actions, endings, interfaces, snapshots
from app.tasks.workflow import WORKFLOWS

UNUSABLE = frozenset({"half_done", "worker_died", "deadline", "bug"})
"""Faults after which nobody knows whether a guest boots from its old disk or from the new one."""


def settled(session: Session, action: Action, server: Server, outcome: Outcome) -> None:
    """The host answered."""
    if outcome.result != DONE:
        unexplained = f"the host answered {outcome.result!r} without a reason"
        fault = outcome.fault or Fault("unexplained", unexplained)
        failed(session, action, server, fault, began=True)
        return
    following = WORKFLOWS[action.kind].after(action.stage)
    if following is not None:
        actions.end_event(session, action)
        actions.enter(session, action, server, following.name, slow=following.slow)
        return
    if action.args.get("made_image") and not snapshots.finished(session, action, outcome.found):
        gone = Fault("image_gone", "the image was deleted meanwhile")
        failed(session, action, server, gone, began=True)
        return
    if action.kind == interfaces.DETACH:
        interfaces.settled(session, action, plugged=False)
    vm_state = end_of(action, server, outcome.power_state)
    endings.power(session, action, server, vm_state, outcome.power_state)


def end_of(action: Action, server: Server, power_state: int) -> str | None:
    """The vm_state after success; None for no change."""
    if action.kind == "sync":
        return synced_state(server, power_state)
    if action.args.get("restart"):
        return server.vm_state
    if action.kind == "rebuild" and server.vm_state == STOPPED:
        return STOPPED
    return KINDS[action.kind].end


def failed(session: Session, action: Action, server: Server, fault: Fault, *, began: bool) -> None:
    """It did not work: the server stays what it was, unless its guest may be neither.

    `began`: its host may have touched the guest. Whatever the host itself answers, it began: the
    row says so only once a heartbeat was swept, and a quick failure is here before that.
    """
    fault = advised(fault, action.stage, action.host)
    boots = action.kind in ("rebuild", "rescue", "unrescue")
    if boots and began and fault.code in UNUSABLE:
        endings.broken(session, action, server, fault)
        return
    if action.kind == interfaces.ATTACH and fault.code not in UNUSABLE:
        interfaces.settled(session, action, plugged=False)
    actions.put_back(action, server)
    endings.failed(session, action, server, fault)


def synced_state(server: Server, power_state: int) -> str | None:
    """The vm_state that a guest's own doing makes of an idle server; None for no change."""
    if server.vm_state in (ACTIVE, PAUSED) and power_state in (SHUTDOWN, CRASHED):
        return STOPPED
    if server.vm_state == STOPPED and power_state == RUNNING:
        return ACTIVE
    return None
