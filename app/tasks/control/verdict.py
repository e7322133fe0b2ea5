"""What an outcome means for its action: one small function for each stage and result.

Each runs inside settle's transaction on locked rows that still stand at the outcome's key.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.config import settings
from app.domain.advice import advised
from app.domain.message import (
    ABSENT,
    DONE,
    NOT_COMMITTED,
    STALE,
    UNDO,
    Fault,
    Outcome,
)
from app.domain.states import CANCELLED
from app.models import Action, Server
from app.store import actions, cleanups, endings, hosts
from app.store.database import clock
from app.tasks.control import inplace

RETRY_SECONDS = 5.0


def apply(session: Session, action: Action, server: Server, outcome: Outcome) -> None:
    """Move the action on as `outcome` says."""
    if outcome.result == STALE:
        _stale(session, action, server, outcome)
    elif action.direction == UNDO:
        _undone(session, action, server, outcome)
    elif action.kind == "create":
        _created(session, action, server, outcome)
    elif action.kind == "delete":
        _deleted(session, action, server, outcome)
    else:
        inplace.settled(session, action, server, outcome)


def _created(session: Session, action: Action, server: Server, outcome: Outcome) -> None:
    if action.stage == "build" and outcome.result == DONE:
        _commit(session, action, server)
    elif action.stage == "build":
        build_failed(session, action, server, outcome.fault or _unknown(outcome))
    elif outcome.result == DONE:
        endings.active(session, action, server)
    elif outcome.result == NOT_COMMITTED:
        # It never ran, so it may be built elsewhere, or here, with no try counted.
        fault = outcome.fault or Fault(NOT_COMMITTED, "the guest was gone before it ever ran")
        actions.turn_back(session, action, server, "destroy", fault)
    else:
        try_here_again(session, action, server, outcome.fault or _unknown(outcome))


def _commit(session: Session, action: Action, server: Server) -> None:
    """From here on the server belongs to its host. A host that is not up waits for its return."""
    host = hosts.get(session, action.host or "")
    if host is None or host.state != hosts.UP:
        action.next_ring_at = clock(session) + 1.0
        action.message = f"built; waiting for host {action.host} to be up again"
        action.revision += 1
        return
    host.failed_builds = 0
    actions.end_event(session, action)
    actions.inline_event(session, action, server, "commit")
    actions.enter(session, action, server, "resume")


def build_failed(session: Session, action: Action, server: Server, fault: Fault) -> None:
    """Count the try and turn back: to the next host, or to a fault that shows at once."""
    host = hosts.get(session, action.host or "")
    if host is not None:
        host.failed_builds += 1
        action.tried = [*action.tried, host.name]
    action.tries += 1
    fault = advised(fault, "build", action.host)
    if not fault.retriable or action.tries >= settings().max_attempts:
        action.fault = actions.event_fault(fault)
        endings.show_error(server, fault)
    actions.turn_back(session, action, server, "destroy", fault)


def try_here_again(session: Session, action: Action, server: Server, fault: Fault) -> None:
    """A new fence lets the host run the stage anew; the stage's deadline bounds it."""
    if not fault.retriable:
        endings.broken(session, action, server, advised(fault, action.stage, action.host))
        return
    server.fence += 1
    action.message = f"{fault.message}; trying again"
    action.next_ring_at = clock(session) + RETRY_SECONDS
    action.revision += 1


def _undone(session: Session, action: Action, server: Server, outcome: Outcome) -> None:
    if outcome.result not in (DONE, ABSENT):
        try_here_again(session, action, server, outcome.fault or _unknown(outcome))
        return
    actions.end_event(session, action)
    after_undo(session, action, server)


def after_undo(session: Session, action: Action, server: Server) -> None:
    """The host confirmed (or a cleanup is owed): end with the fault, or go to the next host."""
    endings.unplaced(session, action, server)
    if action.args.get("cancelled"):
        fault = Fault("cancelled", "cancelled on request before the server was committed to a host")
        actions.finish(session, action, server, CANCELLED, advised(fault, "build", None))
    elif action.fault is not None:
        endings.broken(session, action, server, Fault(**action.fault))
    else:
        server.task_state = "scheduling"
        actions.enter(session, action, server, "schedule")


def _deleted(session: Session, action: Action, server: Server, outcome: Outcome) -> None:
    if outcome.result in (DONE, ABSENT):
        endings.deleted(session, action, server)
    else:
        try_here_again(session, action, server, outcome.fault or _unknown(outcome))


def _stale(session: Session, action: Action, server: Server, outcome: Outcome) -> None:
    fault = Fault(
        STALE,
        f"the host knows fence {outcome.known_fence}, the database {server.fence}: was the "
        "database restored from a backup? Nothing on the host was touched",
    )
    fault = advised(fault, action.stage, outcome.host)
    if action.kind == "create":
        endings.broken(session, action, server, fault)
    elif action.kind == "delete":
        cleanups.owe(session, server, outcome.host)
        endings.gone(session, action, server)
    else:
        inplace.failed(session, action, server, fault, began=True)


def _unknown(outcome: Outcome) -> Fault:
    return Fault("unexplained", f"the host answered {outcome.result!r} without a reason")
