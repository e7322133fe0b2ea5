"""Requests under way, and servers that look as if one were."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Exists, exists, or_, select
from sqlalchemy.orm import Session

from app.domain import states
from app.domain.advice import advised
from app.domain.message import Fault
from app.models import Action, Cleanup, Host, Server, now
from app.store import actions, endings
from app.store.database import clock

FORGOTTEN = "request_lost"


@dataclass(frozen=True)
class UnderWay:
    """An unfinished action with its server; `late` and `due` are seconds since its deadline and
    since its next ring, negative while they are to come. `host_state` is None for no such host."""

    id: str
    kind: str
    stage: str
    direction: str
    host: str | None
    host_state: str | None
    late: float
    due: float
    server_id: str
    vm_state: str
    task_state: str | None
    deleted: bool


@dataclass(frozen=True)
class Idle:
    """A server without an unfinished action that says it has one."""

    server_id: str
    vm_state: str
    task_state: str | None


def under_way(session: Session) -> list[UnderWay]:
    """Every unfinished action."""
    query: Any = (
        select(
            Action.id,
            Action.kind,
            Action.stage,
            Action.direction,
            Action.host,
            Host.state,
            now() - Action.deadline,
            now() - Action.next_ring_at,
            Server.id,
            Server.vm_state,
            Server.task_state,
            Server.deleted_at.is_not(None),
        )
        .join(Server, Server.id == Action.server_id)
        .outerjoin(Host, Host.name == Action.host)
        .where(Action.finished_at.is_(None))
        .order_by(Action.created_at, Action.id)
    )
    return [UnderWay(*row) for row in session.execute(query)]


def waiting_for_nothing(session: Session) -> list[Idle]:
    """Servers that show a task, or are still being built, without an unfinished action."""
    rows = session.execute(
        select(Server.id, Server.vm_state, Server.task_state)
        .where(
            Server.deleted_at.is_(None),
            or_(Server.task_state.is_not(None), Server.vm_state == states.BUILDING),
            ~_has_action(),
        )
        .order_by(Server.id)
    )
    return [Idle(*row) for row in rows]


def overdue_cleanups(session: Session, seconds: float) -> list[tuple[str, str, float, str | None]]:
    """(server id, host, age in seconds, the host's state or None) of cleanups older than that."""
    age = now() - Cleanup.created_at
    rows = session.execute(
        select(Cleanup.server_id, Cleanup.host, age, Host.state)
        .outerjoin(Host, Host.name == Cleanup.host)
        .where(or_(Cleanup.created_at < now() - seconds, Host.name.is_(None)))
        .order_by(Cleanup.host, Cleanup.server_id)
    )
    return [(row[0], row[1], row[2], row[3]) for row in rows]


def let_go(session: Session, server_id: str) -> bool:
    """Make a server idle that no action works on; one that was being built shows a fault."""
    server = session.scalars(
        select(Server).where(Server.id == server_id).with_for_update()
    ).one_or_none()
    if server is None or server.deleted_at is not None:
        return False
    if actions.unfinished(session, server_id) is not None:
        return False
    server.task_state = None
    if server.vm_state == states.BUILDING:
        text = "the request that made this server is lost"
        endings.show_error(server, advised(Fault(FORGOTTEN, text), "audit", server.host))
    return True


def show_task(session: Session, action_id: str) -> bool:
    """Let the server of an unfinished action say that it is busy."""
    held = actions.lock(session, action_id)
    if held is None or held[0].finished_at is not None or held[1].task_state is not None:
        return False
    action, server = held
    if action.kind in states.KINDS:
        server.task_state = states.KINDS[action.kind].task_state
    else:
        server.task_state = "spawning" if action.host else "scheduling"
    return True


def end_after_delete(session: Session, action_id: str) -> bool:
    """End an action whose server is gone."""
    held = actions.lock(session, action_id)
    if held is None or held[0].finished_at is not None or held[1].deleted_at is None:
        return False
    fault = Fault("cancelled", "the server is gone")
    held[1].fence += 1
    actions.finish(session, *held, states.CANCELLED, advised(fault, held[0].stage, held[0].host))
    return True


def ring(session: Session, action_id: str) -> bool:
    """Make an unfinished action due now."""
    held = actions.lock(session, action_id)
    if held is None or held[0].finished_at is not None:
        return False
    held[0].next_ring_at, held[0].rings = clock(session), 0
    return True


def _has_action() -> Exists:
    return exists().where(Action.server_id == Server.id, Action.finished_at.is_(None))
