"""The control plane's tasks: open a transaction, let store and verdict decide, ring what is next.

A lost compare-and-set raises Ignore: a plain return would continue the chain and store a false,
sticky SUCCESS.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from celery import Task, chain, current_app, shared_task
from celery.exceptions import Ignore
from sqlalchemy.exc import SQLAlchemyError

from app import logs
from app.config import settings
from app.domain import states
from app.domain.message import ABSENT, DONE, Fault, Key, Outcome, known
from app.domain.message import outcome as read_outcome
from app.errors import Invalid, NovellaError
from app.failpoints import reach
from app.models import Action
from app.store import actions, cleanups, host_networking, plans, precaches, ringing
from app.store.database import reading, transaction
from app.tasks import board, messages, publish, results
from app.tasks.control import claim as claiming
from app.tasks.control import reconcile as reconciling
from app.tasks.control import schedule as scheduling
from app.tasks.control import verdict
from app.tasks.control.live_table import live_table
from app.tasks.results import ActionFailed
from app.tasks.workflow import BUILDS

log = logs.get(__name__)


@shared_task(bind=True, name="novella.schedule")
def schedule(self: Task, request_id: str) -> None:
    """Choose hosts for the request's servers."""
    reach("schedule.before")
    with transaction() as session:
        ended = scheduling.schedule(session, request_id)
        held = actions.hold_request(session, request_id, "claim")
    live_table().assume(held)
    waiting = [action for action, _ in held]
    _tell("scheduled", waiting)
    _tell("not scheduled", ended)
    reach("schedule.after")
    _store(ended)
    if not waiting:
        raise Ignore
    if not self.request.chain:
        _send(publish.control(current_app, "claim", request_id))


@shared_task(bind=True, name="novella.claim")
def claim(self: Task, request_id: str) -> None:
    """Claim what schedule chose, and send each server's build to its host."""
    reach("claim.before")
    built, again = _claim_all(request_id)
    reach("claim.after")
    if again:
        _send(publish.control(current_app, "schedule", request_id))
    if not settings().chain:
        raise Ignore
    own = _last_id(self)
    replacement = None
    signatures = _host_signatures(built)
    for action in built:
        build = signatures.get(action.id)
        if build is not None and action.id == own:
            replacement = build
        elif build is not None:
            pollable = action.id if action.tries == 0 else None
            _send(chain(build, publish.settle(current_app, pollable), app=current_app))
    if replacement is None:
        raise Ignore
    raise self.replace(replacement)


def _claim_all(request_id: str) -> tuple[list[Action], bool]:
    """One transaction for each few hundred servers. What a dead worker leaves is rung again."""
    built: list[Action] = []
    again = False
    while True:
        with transaction() as session:
            claimed = claiming.claim(session, request_id)
        _tell("claimed", claimed.built)
        _tell("not claimed", claimed.ended)
        _store(claimed.ended)
        built += claimed.built
        again = again or claimed.again
        if not claimed.more:
            return built, again


@shared_task(bind=True, name="novella.settle", ignore_result=False, throws=(ActionFailed,))
def settle(self: Task, outcome: dict[str, Any]) -> dict[str, Any]:
    """Write a host's outcome into the row, if the row still stands where the host was sent."""
    try:
        read = read_outcome(outcome)
    except Invalid as error:
        log.warning("outcome refused", reason=error.message, code=error.code)
        raise Ignore from error
    reach(f"settle-{read.key.stage}.before")
    ids = {"server_id": read.server_id, "task_id": read.key.action_id}
    with logs.bound(request_id=read.request_id, **ids):
        try:
            return _settle(self, read)
        except (NovellaError, SQLAlchemyError, *board.AWAY) as error:
            # Left to Celery, this would be stored as the action's own failure.
            cause = str(error.__cause__ or "")
            log.warning("not settled; the sweep rings again", error=str(error), cause=cause)
            raise Ignore from error


def _settle(task: Task, read: Outcome) -> dict[str, Any]:
    cleaned = False
    with transaction() as session:
        held = actions.hold(session, read.key)
        action = held[0] if held is not None and held[0].host == read.host else None
        if held is not None and action is not None:
            verdict.apply(session, *held, read)
        elif read.result in (DONE, ABSENT):
            key = read.key
            cleaned = cleanups.done(session, key.action_id, read.host, key.fence)
    reach(f"settle-{read.key.stage}.after")
    if action is None:
        if not cleaned:
            _store_again(read.key.action_id)
        raise Ignore
    log.info("settled", stage=read.key.stage, result=read.result, state=action.state)
    return _go_on(task, action, read.key)


@shared_task(name="novella.reconcile")
def reconcile(host: str) -> None:
    """Bring the rows in line with a host's newest inventory."""
    reach("reconcile.before")
    with logs.bound(host=host):
        try:
            begun = reconciling.reconcile(host)
        except (NovellaError, SQLAlchemyError, *board.AWAY) as error:
            log.warning("not reconciled; the sweep rings again", error=str(error))
            raise Ignore from error
        reach("reconcile.after")
        for action in begun:
            publish.ring([action])


@shared_task(name="novella.networked")
def networked(told: dict[str, Any]) -> None:
    """Note how far a host is with its guests' networking."""
    reach("networked.before")
    host, fault = str(told["host"]), str(told.get("fault") or "")
    if fault:
        log.error("a host could not put its networking into force", host=host, error=fault)
    with transaction() as session:
        host_networking.applied(session, host, int(told["revision"]), fault)
    reach("networked.after")


@shared_task(name="novella.precached")
def precached(told: dict[str, Any]) -> None:
    """Note how a host got on with an image that it was to fetch."""
    reach("precached.before")
    host, fault = str(told["host"]), known(Fault, told["fault"]) if told["fault"] else None
    with transaction() as session:
        state = precaches.settle(session, str(told["id"]), host, int(told["attempt"]), fault)
    if state is not None:
        log.info("an image was to be fetched", host=host, state=state, code=fault and fault.code)
    reach("precached.after")


def _last_id(task: Task) -> str | None:
    """The id of the last task of the chain that `task` runs in (Celery keeps the rest reversed)."""
    rest = task.request.chain
    return rest[0]["options"].get("task_id") if rest else None


def _go_on(task: Task, action: Action, came_from: Key) -> dict[str, Any]:
    if action.finished_at is None:
        moved = (action.stage, action.direction) != (came_from.stage, came_from.direction)
        if moved and came_from.stage == "build":
            results.forget_progress(action.id)
        following = _next_stage(action) if moved else None
        if following is None:
            raise Ignore  # what stays where it is waits for its ring
        raise task.replace(following)
    if task.request.id != action.id:
        results.store(action)
        raise Ignore
    if action.state == states.SUCCEEDED:
        return results.document(action)
    raise results.failure(action)


def _next_stage(action: Action) -> Any:
    if not settings().chain:
        return None
    if not publish.is_on_host(action):
        first = publish.control(current_app, action.stage, action.request_id)
        rest = publish.control(current_app, "claim", action.request_id)
        return chain(first, rest, publish.settle(current_app), app=current_app)
    made = _host_signature(action)
    return made and chain(made, publish.settle(current_app), app=current_app)


def _host_signature(action: Action) -> Any:
    return _host_signatures([action]).get(action.id)


def _host_signatures(moved: Sequence[Action]) -> dict[str, Any]:
    """The messages of the host stages at which these actions stand, by the actions' ids.

    None is there for one whose host is away or has enough to do: the ring sends it in time.
    """
    if not moved:
        return {}
    stages = {action.id: action.stage for action in moved}
    found = {}
    with reading() as session:
        standing = actions.with_servers(session, list(stages))
        same = [pair for pair in standing if pair[0].stage == stages[pair[0].id]]
        plans.look_ahead(session, same, messages.NEEDS_PLAN)
        there = [action for action, _ in same]
        sendable = ringing.dispatchable(session, there, BUILDS, ringing.DISPATCHED)
        for action, server in same:
            if action.id in sendable:
                found[action.id] = publish.host_stage(session, current_app, action, server)
    return {action_id: made for action_id, made in found.items() if made is not None}


def _tell(event: str, moved: Sequence[Action]) -> None:
    """A line for each action, with the ids that all of its lines bear."""
    for action in moved:
        with logs.bound(
            request_id=action.request_id, server_id=action.server_id, task_id=action.id
        ):
            code = (action.fault or {}).get("code")
            log.info(event, host=action.host, selection=action.selection, code=code)


def _store(ended: Sequence[Action]) -> None:
    for action in ended:
        results.store(action)


def _store_again(action_id: str) -> None:
    """A late outcome came after the end: progress may have been stored over the result."""
    with reading() as session:
        action = session.get(Action, action_id)
    if action is not None and action.finished_at is not None and action.state != states.SUCCEEDED:
        results.store(action)


def _send(signature: Any) -> None:
    if not settings().chain:
        return
    try:
        signature.apply_async()
    except board.AWAY as error:
        log.warning("could not ring; the sweep will", error=str(error))
