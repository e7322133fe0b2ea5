"""Tasks as clients see them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from app.models import Action, ActionEvent
from app.web.times import micros_z

Live = Mapping[str, tuple[int, str]]
_FAULT_FOR_TENANTS = ("code", "message", "retriable", "stage", "todo")


def etag(revision: int, progress: int, message: str | None) -> str:
    """Changes with everything that a task's document shows."""
    words = hashlib.blake2s((message or "").encode(), digest_size=4).hexdigest()
    return f"{revision}-{progress}-{words}"


def standing(
    progress: int, message: str | None, live: tuple[int, str] | None
) -> tuple[int, str | None]:
    """Progress and message: what the host says now, if it says anything, else the row's."""
    if live is None:
        return progress, message
    return max(progress, live[0]), live[1] or message


def etag_of(action: Action, live: Live) -> str:
    """The ETag of `action`'s document."""
    return etag(action.revision, *standing(action.progress, action.message, live.get(action.id)))


def task(
    action: Action, events: Sequence[ActionEvent], live: Live, *, hosts: bool, base: str
) -> dict[str, Any]:
    """A task's document; with `hosts` also on which hosts it was, and tracebacks."""
    progress, message = standing(action.progress, action.message, live.get(action.id))
    if message and action.host and not hosts:
        message = message.replace(f"host {action.host}", "its host")
    here = f"{base}/v1/tasks/{action.id}"
    return {
        "id": action.id,
        "kind": action.kind,
        "server_id": action.server_id,
        "project_id": action.project_id,
        "user_id": action.user_id,
        "request_id": action.request_id,
        "state": action.state,
        "stage": action.stage,
        "direction": action.direction,
        "tries": action.tries,
        "host": action.host if hosts else None,
        "progress": 100 if action.state == "succeeded" else progress,
        "message": message,
        "steps": [_step(event, hosts) for event in events],
        "fault": fault(action.fault, hosts),
        "created_at": micros_z(action.created_at),
        "started_at": micros_z(action.started_at),
        "finished_at": micros_z(action.finished_at),
        "links": {
            "self": here,
            "server": f"{base}/compute/v2.1/servers/{action.server_id}",
            "events": f"{here}/events",
        },
    }


def _step(event: ActionEvent, hosts: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "name": event.stage,
        "direction": event.direction,
        "host": event.host if hosts else None,
        "started_at": micros_z(event.started_at),
        "finished_at": micros_z(event.finished_at),
        "result": event.result,
    }
    if event.fault:
        shown["fault"] = fault(event.fault, hosts)
    return shown


def fault(stored: Mapping[str, Any] | None, hosts: bool) -> dict[str, Any] | None:
    """A fault; without `hosts`, what tenants may know of it."""
    if not stored or hosts:
        return dict(stored) if stored else None
    return {name: stored[name] for name in _FAULT_FOR_TENANTS if name in stored}
