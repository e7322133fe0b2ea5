"""Instance actions: what was asked of a server, and how it went."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from sqlalchemy.orm import Session

from app.errors import Invalid
from app.models import Action, ActionEvent
from app.store import server_listing, task_listing
from app.store.database import reading
from app.store.task_listing import ServerTaskQuery
from app.web import context, query, times
from app.web.answers import answer
from app.web.api import Route
from app.web.compute import ranges, views
from app.web.compute.server_views import host_id
from app.web.compute.versions import ns
from app.web.policy import allows
from app.web.shapes import in_servers as shapes
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
    "pause": "compute_pause_instance",
    "unpause": "compute_unpause_instance",
    "suspend": "compute_suspend_instance",
    "wake": "compute_resume_instance",
    "rebuild": "compute_rebuild_instance",
    "rescue": "compute_rescue_instance",
    "unrescue": "compute_unrescue_instance",
    "snapshot": "compute_snapshot_instance",
    "attach": "compute_attach_interface",
    "detach": "compute_detach_interface",
    "password": "compute_set_admin_password",
    "crash_dump": "compute_trigger_crash_dump",
}
_RESULTS = {"succeeded": "Success", "done": "Success", "failed": "Error"}
_RULE = "os_compute_api:os-instance-actions:"
PAGED = (2, 58)


def _short(action: Action) -> dict[str, Any]:
    failed = action.state in ("failed", "cancelled")
    shown = {
        "action": _NOVA_ACTIONS.get(action.kind, action.kind),
        "instance_uuid": action.server_id,
        "message": ("Error" if action.state == "failed" else "Cancelled") if failed else None,
        "project_id": action.project_id,
        "request_id": action.request_id,
        "start_time": micros(action.created_at),
        "user_id": action.user_id,
    }
    if context.version() >= PAGED:
        shown["updated_at"] = micros(task_listing.changed_at(action))
    return shown


def _event(event: ActionEvent, project_id: str, privileged: bool) -> dict[str, Any]:
    name = _NOVA_EVENTS.get(event.stage, f"novella_{event.stage}")
    fault, version = event.fault or {}, context.version()
    shown = {
        "event": name if event.direction == "do" else f"{name}_undo",
        "start_time": micros(event.started_at),
        "finish_time": micros(event.finished_at),
        "result": _RESULTS.get(event.result or "", event.result),
    }
    if privileged:
        shown["traceback"] = fault.get("details") or fault.get("message")
    if version >= (2, 62):
        shown["hostId"] = host_id(project_id, event.host)
        if privileged:
            shown["host"] = event.host
    if version >= (2, 84) and allows(f"{_RULE}events:details"):
        shown["details"] = fault.get("message")
    return shown


@ns.route("/v2.1/servers/<server_id>/os-instance-actions")
class InstanceActions(Route):
    shows = {"get": shapes.ACTIONS}
    policy = {"get": f"{_RULE}list"}

    @ns.doc(
        params={
            "limit": "from 2.58: at most 1000",
            "marker": "from 2.58: the last request id of the page before",
            "changes-since": "from 2.58, ISO 8601: changed then or later",
            "changes-before": "from 2.66, ISO 8601: changed then or earlier",
        }
    )
    def get(self, server_id: str) -> Response:
        """List what was asked of a server, newest first."""
        wanted = _wanted()
        with reading() as session:
            _check(session, server_id)
            found = task_listing.of_server(session, server_id, wanted)
        shown: dict[str, Any] = {"instanceActions": [_short(action) for action in found]}
        if wanted.limit is not None and found and len(found) == wanted.limit:
            shown["links"] = views.next_link(found[-1].request_id, wanted.limit)
        return answer(shown)


def _wanted() -> ServerTaskQuery:
    version = context.version()
    if version < PAGED:
        return ServerTaskQuery()
    newer = ("changes-before",) if version >= (2, 66) else ()
    ranges.known_parameters("limit", "marker", "changes-since", *newer, since=PAGED)
    since, before = _moment("changes-since"), _moment("changes-before")
    if since is not None and before is not None and since > before:
        raise Invalid("The value of changes-since must be less than or equal to changes-before.")
    return ServerTaskQuery(since, before, query.limit(), request.args.get("marker"))


def _moment(name: str) -> float | None:
    text = request.args.get(name)
    return times.parse(text, name) if text else None


@ns.route("/v2.1/servers/<server_id>/os-instance-actions/<request_id>")
class InstanceAction(Route):
    shows = {"get": shapes.ONE_ACTION}
    policy = {"get": f"{_RULE}show"}
    asks = {"get": (f"{_RULE}events", f"{_RULE}events:details")}

    def get(self, server_id: str, request_id: str) -> Response:
        """Show what one request did to a server, with its events."""
        privileged = allows(f"{_RULE}events")
        with reading() as session:
            _check(session, server_id)
            action = task_listing.of_request(session, server_id, request_id)
            events = task_listing.steps(session, [action.id]).get(action.id, [])
        shown = _short(action)
        if privileged or context.version() >= (2, 51):
            shown["events"] = [_event(one, action.project_id, privileged) for one in events]
        return answer({"instanceAction": shown})


def _check(session: Session, server_id: str) -> None:
    # From 2.21 a deleted server's actions can still be read.
    deleted = context.version() >= (2, 21)
    server_listing.get(session, context.caller(), server_id, deleted=deleted)
