"""Instance actions: what was asked of a server, and how it went."""

from __future__ import annotations

from typing import Any

from flask import Response

from app.models import Action, ActionEvent
from app.store import server_listing, task_listing
from app.store.database import reading
from app.web import context
from app.web.answers import answer
from app.web.api import Route
from app.web.compute.versions import ns
from app.web.times import micros

_NOVA_ACTIONS = {"hard_reboot": "reboot"}
_NOVA_EVENTS = {
    "schedule": "conductor_schedule_and_build_instances",
    "claim": "conductor_claim_resources",
    "build": "compute__do_build_and_run_instance",
    "resume": "compute_resume_built_instance",
    "destroy": "compute_terminate_instance",
    "start": "compute_start_instance",
    "stop": "compute_stop_instance",
    "reboot": "compute_reboot_instance",
}
_RESULTS = {"succeeded": "Success", "done": "Success", "failed": "Error"}


def _short(action: Action) -> dict[str, Any]:
    failed = action.state in ("failed", "cancelled")
    return {
        "action": _NOVA_ACTIONS.get(action.kind, action.kind),
        "instance_uuid": action.server_id,
        "message": ("Error" if action.state == "failed" else "Cancelled") if failed else None,
        "project_id": action.project_id,
        "request_id": action.request_id,
        "start_time": micros(action.created_at),
        "user_id": action.user_id,
    }


def _event(event: ActionEvent) -> dict[str, Any]:
    name = _NOVA_EVENTS.get(event.stage, f"novella_{event.stage}")
    fault = event.fault or {}
    return {
        "event": name if event.direction == "do" else f"{name}_undo",
        "start_time": micros(event.started_at),
        "finish_time": micros(event.finished_at),
        "result": _RESULTS.get(event.result or "", event.result),
        "traceback": fault.get("details") or fault.get("message"),
    }


@ns.route("/v2.1/servers/<server_id>/os-instance-actions")
class InstanceActions(Route):
    policy = {"get": "os_compute_api:os-instance-actions:list"}

    def get(self, server_id: str) -> Response:
        """List what was asked of a server, newest first."""
        with reading() as session:
            _check(session, server_id)
            found = task_listing.of_server(session, server_id)
        return answer({"instanceActions": [_short(action) for action in found]})


@ns.route("/v2.1/servers/<server_id>/os-instance-actions/<request_id>")
class InstanceAction(Route):
    policy = {"get": "os_compute_api:os-instance-actions:show"}

    def get(self, server_id: str, request_id: str) -> Response:
        """Show what one request did to a server, with its events."""
        caller = context.caller()
        with reading() as session:
            _check(session, server_id)
            action = task_listing.of_request(session, server_id, request_id)
            events = task_listing.steps(session, [action.id]).get(action.id, [])
        shown = _short(action)
        if caller.is_admin:  # others see them from 2.51
            shown["events"] = [_event(event) for event in events]
        return answer({"instanceAction": shown})


def _check(session: Any, server_id: str) -> None:
    # From 2.21 a deleted server's actions can still be read.
    deleted = context.version() >= (2, 21)
    server_listing.get(session, context.caller(), server_id, deleted=deleted)
