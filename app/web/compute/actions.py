"""Server actions: `POST /servers/{id}/action`, one function per action, registered by name.

Other packages add theirs through the entry point group `novella.server_actions`
(`app.web.extending`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid, NotFound
from app.models import Host
from app.store import hosts, server_listing, server_locks, servers
from app.store.database import reading
from app.tasks import host_reads
from app.web import context, microversions
from app.web.accepting import Accepted, accept
from app.web.answers import answer
from app.web.api import Route, documented
from app.web.body import Schema, parsed
from app.web.compute import schemas
from app.web.compute.versions import ns
from app.web.extending import installed
from app.web.microversions import shown
from app.web.policy import INSIDE, allows, require

_LOCKING = "os_compute_api:os-lock-server:"
_OVERRIDE = f"{_LOCKING}unlock:unlock_override"
Perform = Callable[[str, Any], Response]
Range = tuple[tuple[int, int], tuple[int, int]]
Versioned = Callable[[tuple[int, int]], Schema]
ACTIONS: dict[str, tuple[str, Schema | Versioned, Perform]] = {}
VERSIONS: dict[str, Range] = {}
"""The first and the last microversion of actions that not all of them have."""
ANSWERS: dict[str, tuple[int, ...]] = {}
"""What each answers when all is well."""
ASKS: dict[str, Sequence[str]] = {}
"""The rules that each asks besides its own."""
_ASKING: dict[Perform, Sequence[str]] = {}


def asking(*rules: str) -> Callable[[Perform], Perform]:
    """Say, below `register`, which rules an action asks besides its own."""

    def decorate(function: Perform) -> Perform:
        _ASKING[function] = rules
        return function

    return decorate


def register(
    name: str,
    rule: str,
    schema: Schema | Versioned,
    since: tuple[int, int] = microversions.MIN,
    until: tuple[int, int] = microversions.MAX,
    answers: tuple[int, ...] = (202,),
) -> Callable[[Perform], Perform]:
    """Make a function of (server id, the action's value) the action `name`, guarded by `rule`.

    `schema` is the whole body's, or a function from the microversion to it. At versions before
    `since` and after `until` it is 404, as in Nova. `answers` are its statuses when all is well,
    none for one that is always refused.
    """

    def decorate(function: Perform) -> Perform:
        ACTIONS[name] = (rule, schema, function)
        VERSIONS[name] = (since, until)
        ANSWERS[name] = answers
        ASKS[name] = _ASKING.get(function, ())
        return function

    return decorate


@ns.route("/v2.1/servers/<server_id>/action")
class ServerAction(Route):
    policy = {"post": INSIDE}

    @ns.doc(params={"Idempotency-Key": {"in": "header", "description": "makes repeats safe"}})
    @documented(ns, schemas.ACTION)
    def post(self, server_id: str) -> Response:
        """Do one thing to a server: what its body names."""
        given = schemas.ACTION.check(parsed())
        name = next(iter(given))
        rule, schema, perform, (since, until) = _action(name)
        require(rule)
        if not since <= context.version() <= until:
            raise NotFound(f"The action {name} is of versions {shown(since)} to {shown(until)}")
        checked = schema if isinstance(schema, Schema) else schema(context.version())
        return perform(server_id, checked.check(given)[name])


def _action(name: str) -> tuple[str, Schema | Versioned, Perform, Range]:
    """Its rule, schema, function, and first and last microversion. Raises Invalid for none."""
    if name in ACTIONS:
        return *ACTIONS[name], VERSIONS[name]
    if (one := context.web().extensions.actions.get(name)) is None:
        raise Invalid(f"There is no such action: {name[:64]}")
    versions = (one.since, one.until)
    return one.rule.name, installed.schema_of(one), installed.performer(one), versions


def accept_kind(server_id: str, kind: str, args: dict[str, Any] | None = None) -> Response:
    """Accept a request of that kind on the server; the answer is empty."""

    def work(session: Session) -> Accepted:
        return Accepted([servers.request(session, context.caller(), server_id, kind, args or {})])

    return accept(work)


@register("os-start", "os_compute_api:servers:start", schemas.START)
def start(server_id: str, value: Any) -> Response:
    """Start a stopped server."""
    return accept_kind(server_id, "start")


@register("os-stop", "os_compute_api:servers:stop", schemas.STOP)
def stop(server_id: str, value: Any) -> Response:
    """Stop a running server."""
    return accept_kind(server_id, "stop")


@register("reboot", "os_compute_api:servers:reboot", schemas.REBOOT)
def reboot(server_id: str, value: Any) -> Response:
    """Reboot a server, by asking its system (SOFT) or by force (HARD)."""
    return accept_kind(server_id, "reboot", {"type": value["type"].upper()})


@register("lock", f"{_LOCKING}lock", schemas.lock)
def lock(server_id: str, value: Any) -> Response:
    """Lock a server against changes, from 2.73 with a reason."""
    reason = value.get("locked_reason") if context.version() >= (2, 73) and value else None

    def work(session: Session) -> Accepted:
        return Accepted([server_locks.lock(session, context.caller(), server_id, reason)])

    return accept(work)


@register("unlock", f"{_LOCKING}unlock", schemas.UNLOCK)
@asking(_OVERRIDE)
def unlock(server_id: str, value: Any) -> Response:
    """Unlock a server; an administrator's lock only by administrators."""
    override = allows(_OVERRIDE)

    def work(session: Session) -> Accepted:
        caller = context.caller()
        return Accepted([server_locks.unlock(session, caller, server_id, override=override)])

    return accept(work)


@register(
    "os-getConsoleOutput", "os_compute_api:os-console-output", schemas.CONSOLE, answers=(200,)
)
def console_output(server_id: str, value: Any) -> Response:
    """The last lines of a server's serial console: the one call that waits for a host."""
    asked = value.get("length")
    lines = None if asked is None or int(asked) < 0 else int(asked)
    host = host_to_ask(server_id)
    return answer({"output": host_reads.console(host, server_id, lines)})


def host_to_ask(server_id: str) -> Host:
    """The host of the caller's server. Raises NotFound, and Conflict when it cannot be asked."""
    with reading() as session:
        server = server_listing.get(session, context.caller(), server_id)
        host = hosts.get(session, server.host) if server.host else None
    if host is None or server.launched_at is None:
        raise Conflict(f"Instance {server_id} is not ready", code="not_ready")
    if host.state == hosts.DOWN:
        raise Conflict(f"The host of instance {server_id} is down", code="host_down")
    return host
