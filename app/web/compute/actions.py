"""Server actions: `POST /servers/{id}/action`, one function per action, registered by name.

A third party adds its own through the entry point group `novella.server_actions`, whose
objects are called with `register`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid
from app.store import hosts, server_listing, servers
from app.store.database import reading
from app.tasks import console
from app.web import context
from app.web.accepting import Accepted, accept
from app.web.answers import answer
from app.web.api import Route, documented
from app.web.body import Schema, parsed
from app.web.compute import schemas
from app.web.compute.versions import ns
from app.web.policy import INSIDE, require

Perform = Callable[[str, Any], Response]
ACTIONS: dict[str, tuple[str, Schema, Perform]] = {}
CONSOLE_SECONDS = 5.0


def register(name: str, rule: str, schema: Schema) -> Callable[[Perform], Perform]:
    """Make a function of (server id, the action's value) the action `name`, guarded by `rule`."""

    def decorate(function: Perform) -> Perform:
        ACTIONS[name] = (rule, schema, function)
        return function

    return decorate


@ns.route("/v2.1/servers/<server_id>/action")
class ServerAction(Route):
    policy = {"post": INSIDE}

    @ns.doc(params={"Idempotency-Key": {"in": "header", "description": "makes repeats safe"}})
    @documented(ns, schemas.ACTION)
    def post(self, server_id: str) -> Response:
        """Start, stop or reboot a server, or read its console: one action per request."""
        given = schemas.ACTION.check(parsed())
        name = next(iter(given))
        if name not in ACTIONS:
            raise Invalid(f"There is no such action: {name[:64]}")
        rule, schema, perform = ACTIONS[name]
        require(rule)
        return perform(server_id, schema.check(given)[name])


def _accept(server_id: str, kind: str, args: dict[str, Any]) -> Response:
    def work(session: Session) -> Accepted:
        return Accepted([servers.request(session, context.caller(), server_id, kind, args)])

    return accept(work)


@register("os-start", "os_compute_api:servers:start", schemas.START)
def start(server_id: str, value: Any) -> Response:
    """Start a stopped server."""
    return _accept(server_id, "start", {})


@register("os-stop", "os_compute_api:servers:stop", schemas.STOP)
def stop(server_id: str, value: Any) -> Response:
    """Stop a running server."""
    return _accept(server_id, "stop", {})


@register("reboot", "os_compute_api:servers:reboot", schemas.REBOOT)
def reboot(server_id: str, value: Any) -> Response:
    """Reboot a server, by asking its system (SOFT) or by force (HARD)."""
    return _accept(server_id, "reboot", {"type": value["type"].upper()})


@register("os-getConsoleOutput", "os_compute_api:os-console-output", schemas.CONSOLE)
def console_output(server_id: str, value: Any) -> Response:
    """The last lines of a server's serial console: the one call that waits for a host."""
    asked = value.get("length")
    lines = None if asked is None or int(asked) < 0 else int(asked)
    with reading() as session:
        server = server_listing.get(session, context.caller(), server_id)
        host = hosts.get(session, server.host) if server.host else None
    if host is None or server.launched_at is None:
        raise Conflict(f"Instance {server_id} is not ready", code="not_ready")
    if host.state == hosts.DOWN:
        raise Conflict(f"The host of instance {server_id} is down", code="host_down")
    text = console.read(host.name, host.uuid, server_id, lines, timeout=CONSOLE_SECONDS)
    return answer({"output": text})
