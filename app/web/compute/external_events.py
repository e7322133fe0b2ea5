"""What other services tell of servers: that a network, a volume or a machine's power changed."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response
from sqlalchemy.orm import Session

from app import logs
from app.errors import NotFound
from app.models import Action
from app.store import server_reports
from app.web import context
from app.web.accepting import Accepted, accept
from app.web.api import Route, documented
from app.web.body import Json, Schema, body, only
from app.web.compute.versions import ns
from app.web.microversions import MAX
from app.web.shapes import operating as shapes

log = logs.get(__name__)
_POWER = "power-update"
_NAMES = (
    "network-changed",
    "network-vif-plugged",
    "network-vif-unplugged",
    "network-vif-deleted",
)
_NAMES_SINCE = (
    ((2, 51), "volume-extended"),
    ((2, 76), _POWER),
    ((2, 82), "accelerator-request-bound"),
    ((2, 93), "volume-reimaged"),
)
_MOST = 100


def _schema(version: tuple[int, int]) -> Schema:
    return _SCHEMAS[sum(version >= since for since, _ in _NAMES_SINCE)]


def _made(newer: int) -> Schema:
    names = [*_NAMES, *(name for _, name in _NAMES_SINCE[:newer])]
    event: Json = only(
        {
            "server_uuid": {
                "type": "string",
                "pattern": r"^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z",
            },
            "name": {"enum": names},
        },
        {
            "status": {"enum": ["failed", "completed", "in-progress"]},
            "tag": {"type": "string", "maxLength": 255},
        },
    )
    listed: Json = {"type": "array", "minItems": 1, "maxItems": _MOST, "items": event}
    return Schema(f"ServerExternalEvents{newer or ''}", only({"events": listed}))


_SCHEMAS = [_made(newer) for newer in range(len(_NAMES_SINCE) + 1)]


@ns.route("/v2.1/os-server-external-events")
class ServerExternalEvents(Route):
    shows = {"post": shapes.EVENTS}
    policy = {"post": "os_compute_api:os-server-external-events:create"}
    answers = {"post": (200, 207)}

    @documented(ns, _schema(MAX))
    def post(self) -> Response:
        """Take note of events; a power-update lets the server's host report its power."""
        events: list[dict[str, Any]] = body(_schema(context.version()))["events"]

        def work(session: Session) -> Accepted:
            ids = {event["server_uuid"] for event in events}
            hosts = server_reports.hosts_of(session, ids)
            shown = [_judged(event, hosts) for event in events]
            taken = [one for one in shown if one["code"] == 200]
            if not taken:
                raise NotFound("No instances found for any event")
            status = 200 if len(taken) == len(shown) else 207
            return Accepted(_reports(session, taken), status, orjson.dumps({"events": shown}))

        return accept(work)


def _judged(event: dict[str, Any], hosts: dict[str, str | None]) -> dict[str, Any]:
    """The event with its status and code: 404 for no server, 422 for one that is on no host."""
    server_id = event["server_uuid"]
    code = 404 if server_id not in hosts else 422 if hosts[server_id] is None else 200
    shown = {"status": "completed", **event, "code": code}
    if code != 200:
        shown["status"] = "failed"
    log.info("external event", event_name=event["name"], server_id=server_id, code=code)
    return shown


def _reports(session: Session, events: list[dict[str, Any]]) -> list[Action]:
    request_id = context.caller().request_id
    wanted = sorted({one["server_uuid"] for one in events if one["name"] == _POWER})
    asked = [server_reports.ask_for_power(session, one, request_id) for one in wanted]
    return [action for action in asked if action is not None]
