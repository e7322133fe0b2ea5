"""Reading actions: as tasks, and as Nova's instance actions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.errors import Invalid, NotFound
from app.models import Action, ActionEvent
from app.store.paging import Page, in_order, page_of


@dataclass(frozen=True)
class TaskQuery:
    """`since` (seconds since the epoch) is compared with the time of acceptance."""

    all_projects: bool = False
    server_id: str | None = None
    request_id: str | None = None
    state: str | None = None
    kind: str | None = None
    host: str | None = None
    since: float | None = None
    page: Page = Page(descending=True)


@dataclass(frozen=True)
class Mark:
    """What tells whether a task has changed. `running`: it may have live progress."""

    revision: int
    progress: int
    message: str | None
    running: bool
    finished: bool


def page(session: Session, caller: Caller, wanted: TaskQuery) -> list[Action]:
    """The caller's tasks, newest first. Raises Invalid for a bad marker."""
    query = select(Action)
    if not wanted.all_projects:
        query = query.where(Action.project_id == caller.project_id)
    for column, value in (
        (Action.server_id, wanted.server_id),
        (Action.request_id, wanted.request_id),
        (Action.state, wanted.state),
        (Action.kind, wanted.kind),
        (Action.host, wanted.host),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.since is not None:
        query = query.where(Action.created_at >= wanted.since)
    marker = None
    if wanted.page.marker is not None:
        marker = session.get(Action, wanted.page.marker)
        if marker is None or not _may_see(caller, marker):
            raise Invalid(f"marker {wanted.page.marker} not found")
    query = page_of(query, wanted.page, Action.created_at, Action.id, marker)
    return list(session.scalars(query))


def get(session: Session, caller: Caller, action_id: str) -> Action:
    """One task that the caller may see, else NotFound."""
    action = session.get(Action, action_id)
    if action is None or not _may_see(caller, action):
        raise NotFound(f"task {action_id} could not be found")
    caller.hold(action.id, action.project_id, action.user_id)
    return action


def steps(session: Session, action_ids: Iterable[str]) -> dict[str, list[ActionEvent]]:
    """The events of each action, oldest first: one query."""
    query = select(ActionEvent).where(ActionEvent.action_id.in_(list(action_ids)))
    found: dict[str, list[ActionEvent]] = {}
    for event in session.scalars(query.order_by(ActionEvent.id)):
        found.setdefault(event.action_id, []).append(event)
    return found


def marks(session: Session, action_ids: Sequence[str]) -> dict[str, Mark]:
    """Where each of these tasks stands: one query, for all that is waited for."""
    query = select(
        Action.id,
        Action.revision,
        Action.progress,
        Action.message,
        Action.state,
        Action.finished_at,
    ).where(Action.id.in_(action_ids))
    return {
        row.id: Mark(
            row.revision,
            row.progress,
            row.message,
            row.state == "running",
            row.finished_at is not None,
        )
        for row in session.execute(query)
    }


@dataclass(frozen=True)
class ServerTaskQuery:
    """At most `limit` actions after that of the request `marker`, by when they last changed."""

    changed_since: float | None = None
    changed_before: float | None = None
    limit: int | None = None
    marker: str | None = None


def of_server(
    session: Session, server_id: str, wanted: ServerTaskQuery = ServerTaskQuery()
) -> list[Action]:
    """What users asked of a server, newest first (not what the cloud asked by itself).

    Raises Invalid for a bad marker.
    """
    query = select(Action).where(Action.server_id == server_id, Action.kind != "sync")
    if wanted.changed_since is not None:
        query = query.where(_changed_at() >= wanted.changed_since)
    if wanted.changed_before is not None:
        query = query.where(_changed_at() < math.floor(wanted.changed_before) + 1)
    marker = None
    if wanted.marker is not None:
        try:
            marker = of_request(session, server_id, wanted.marker)
        except NotFound as error:
            raise Invalid(f"marker [{wanted.marker}] not found") from error
    query = in_order(query, [(Action.created_at, True)], Action.id, marker)
    return list(session.scalars(query.limit(wanted.limit)))


def changed_at(action: Action) -> float:
    """When an action last ended a stage or began one; seconds since the epoch."""
    return action.finished_at or action.stage_started_at or action.created_at


def _changed_at() -> ColumnElement[float]:
    return func.coalesce(Action.finished_at, Action.stage_started_at, Action.created_at)


def of_request(session: Session, server_id: str, request_id: str) -> Action:
    """What one request did to a server, else NotFound."""
    query = select(Action).where(Action.server_id == server_id, Action.request_id == request_id)
    action = session.scalars(query).first()
    if action is None:
        raise NotFound(f"Action for request_id {request_id} on instance {server_id} not found")
    return action


def _may_see(caller: Caller, action: Action) -> bool:
    return caller.is_admin or action.project_id == caller.project_id
