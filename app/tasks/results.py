"""Results in Redis under the action's id, for AsyncResult and Flower. The row wins."""

from __future__ import annotations

from typing import Any

from celery import current_app
from celery import states as celery_states
from celery.exceptions import BackendError

from app import logs
from app.domain import states
from app.domain.advice import sentence
from app.domain.message import Fault
from app.models import Action
from app.tasks.board import AWAY

log = logs.get(__name__)


class ActionFailed(Exception):
    """How a failed or cancelled action looks to AsyncResult: the fault in words."""


def document(action: Action) -> dict[str, Any]:
    """What AsyncResult(id).result is for an action that succeeded."""
    return {
        "id": action.id,
        "kind": action.kind,
        "server_id": action.server_id,
        "state": action.state,
    }


def failure(action: Action) -> ActionFailed:
    """What AsyncResult(id).result is for an action that did not."""
    fault = Fault(**action.fault) if action.fault else Fault(action.state, action.state)
    return ActionFailed(f"{fault.code}: {sentence(fault)}")


def store(action: Action) -> None:
    """Store an ended action's result, best effort: it is a copy of the row."""
    if action.finished_at is None:
        return
    try:
        if action.state == states.SUCCEEDED:
            current_app.backend.store_result(
                action.id, document(action), celery_states.SUCCESS, request=None
            )
        else:
            current_app.backend.store_result(
                action.id, failure(action), celery_states.FAILURE, request=None
            )
    except (*AWAY, BackendError, RuntimeError) as error:
        log.warning("result not stored", task_id=action.id, error=str(error))


def forget_progress(action_id: str) -> None:
    """A stage is over: its live progress is not the next one's. Best effort."""
    try:
        current_app.backend.forget(action_id)
    except (*AWAY, BackendError, RuntimeError) as error:
        log.warning("progress not forgotten", task_id=action_id, error=str(error))
