"""What happens to actions whose host went away or whose time ran out."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.config import settings
from app.domain.advice import advised
from app.domain.message import DO, UNDO, Fault
from app.models import Action, Host, Server
from app.store import actions, cleanups, endings, hosts, ringing
from app.store.database import clock, transaction
from app.tasks.control import inplace, verdict
from app.tasks.workflow import WORKFLOWS

LOST = "host_lost"


def leave_down_host(session: Session, action: Action, server: Server) -> None:
    """Move one action off a host that is down, if its kind does not wait for the return."""
    cleanups.lock(session, server.id)
    if action.direction == UNDO or action.kind == "delete":
        leave_to_cleanup(session, action, server)
    elif action.kind == "create" and action.stage == "build":
        fault = Fault(LOST, "the host went down while building", retriable=True)
        verdict.build_failed(session, action, server, fault)
        leave_to_cleanup(session, action, server)


def leave_to_cleanup(session: Session, action: Action, server: Server) -> None:
    """The host cannot confirm: end for the user, or go on elsewhere; the rest is owed."""
    if action.host is None:
        return
    server.fence += 1
    cleanups.owe(session, server, action.host)
    if action.kind == "delete":
        endings.gone(session, action, server)
        return
    actions.end_event(session, action, "failed")
    action.host = server.host = None
    verdict.after_undo(session, action, server)


def expire(session: Session, action_id: str) -> Action | None:
    """End or turn back an action past one of its deadlines; it, when it ended."""
    held = actions.lock(session, action_id)
    if held is None or held[0].finished_at is not None:
        return None
    action, server = held
    host = hosts.get(session, action.host) if action.host else None
    if host is not None and _is_lost_with(host, action):
        leave_down_host(session, action, server)
    if action.finished_at is not None:
        return action
    reason = _past(session, action)
    if reason is None:
        return None
    fault = advised(Fault("deadline", reason), action.stage, action.host)
    if action.direction == UNDO or action.kind == "delete":
        leave_to_cleanup(session, action, server)
    elif action.kind != "create":
        server.fence += 1
        began = action.stage_started_at is not None
        inplace.failed(session, action, server, fault, began=began)
    elif action.stage == "build":
        again = Fault(fault.code, fault.message, retriable=clock(session) < action.deadline)
        verdict.build_failed(session, action, server, again)
    elif action.stage == "resume":
        server.fence += 1
        lost = advised(Fault(LOST, "host lost while starting"), "resume", action.host)
        endings.broken(session, action, server, lost)
    else:
        server.fence += 1
        endings.unplaced(session, action, server)
        endings.broken(session, action, server, fault)
    return action if action.finished_at is not None else None


def _is_lost_with(host: Host, action: Action) -> bool:
    """Whether the action need not wait for its host; a build that runs may outlive its driver."""
    if host.state == hosts.DRIVER_DOWN:
        began = action.direction == DO and action.stage_started_at is not None
        return not (action.kind == "create" and began)
    return host.state == hosts.DOWN


def limits() -> ringing.Limits:
    """How long stages may take, as it is configured."""
    configured = settings()
    return ringing.Limits(
        resume=configured.resume_deadline,
        destroy=configured.destroy_deadline,
        slow=configured.slow_deadline,
        progress=configured.progress_deadline,
    )


def _past(session: Session, action: Action) -> str | None:
    """Which deadline the action is past, in words; None when it is not."""
    configured, time = settings(), clock(session)
    if time >= action.deadline:
        return f"not done within {action.deadline - action.created_at:.0f} s of its acceptance"
    if action.stage_started_at is None:
        return None
    running = time - action.stage_started_at
    step = WORKFLOWS[action.kind].step(action.stage)
    if action.direction == UNDO or action.stage == "destroy":
        limit = configured.destroy_deadline
    elif action.stage == "resume":
        limit = configured.resume_deadline
    elif step.slow:
        if time - (action.progress_at or time) >= configured.progress_deadline:
            return f"no progress for {configured.progress_deadline:.0f} s"
        limit = configured.slow_deadline
    else:
        return None
    return f"not done after {limit:.0f} s" if running >= limit else None


def host_is_down(name: str, state: str) -> list[Action] | None:
    """Declare a host down and move on what was with it; None when another sweep was first.

    In-place actions wait for it to their deadline. One transaction each: what a crash between
    them leaves, `expire` finds. Returns the actions that ended.
    """
    with transaction() as session:
        if not hosts.set_state(session, name, state, hosts.DOWN):
            return None
        left = ringing.on_host(session, name)
    ended: list[Action] = []
    for action_id in left:
        with transaction() as session:
            held = actions.lock(session, action_id)
            if held is None or held[0].finished_at is not None or held[0].host != name:
                continue
            leave_down_host(session, *held)
            if held[0].finished_at is not None:
                ended.append(held[0])
    return ended
