"""Stage `claim`: take the capacity and the addresses, the claims of a request many at a time."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlalchemy.orm import Session

from app.domain.advice import advised
from app.domain.message import Fault
from app.domain.request_spec import AFFINITY, ANTI_AFFINITY
from app.domain.resources import Resources
from app.models import Action, Host, Server
from app.store import actions, addresses, claims, endings, hosts, server_groups
from app.tasks.control import placing

AT_ONCE = 250
"""Servers that one transaction claims for at most: others wait no longer than that takes."""
GROUP_FILTERS = {AFFINITY: "group_affinity", ANTI_AFFINITY: "group_anti_affinity"}
Held = list[tuple[Action, Server]]


@dataclass
class Claimed:
    """What became of some of a request's servers.

    `built` may be built now; `again` says that some must be scheduled anew, for their selections
    were used up by lost races; `ended` failed; `more` says that others still wait to be claimed.
    """

    built: list[Action] = field(default_factory=list)
    again: bool = False
    ended: list[Action] = field(default_factory=list)
    more: bool = False


def claim(session: Session, request_id: str) -> Claimed:
    """Claim for the request's actions at this stage, AT_ONCE at most."""
    standing = actions.hold_request(session, request_id, "claim", AT_ONCE)
    result = Claimed(more=len(standing) == AT_ONCE)
    chosen, held = _choose(session, standing)
    result.ended = _give_addresses(session, held)
    gone = {action.id for action in result.ended}
    held = [pair for pair in held if pair[0].id not in gone]
    claims.take(
        session,
        {server.id: chosen[server.id] for _, server in held},
        {server.id: _size(server) for _, server in held},
    )
    _move_on(session, held, chosen)
    result.built = [action for action, _ in held]
    for action, server in standing:
        if server.id not in chosen:
            actions.end_event(session, action, "failed")
            actions.enter(session, action, server, "schedule")
            result.again = True
    return result


def _choose(session: Session, standing: Held) -> tuple[dict[str, str], Held]:
    """The host of each server that finds room on one of its selection, and these servers.

    Zones and groups with a hard policy are judged again: schedule chose from what was there, and
    others claimed, or an operator moved hosts, since. But only where the filter is on: what
    schedule does not look at would send a server to and fro between the two.
    """
    filters = {rule.name for rule in placing.policy().filters}
    strict = [policy for policy, name in GROUP_FILTERS.items() if name in filters]
    ids = [server.id for _, server in standing]
    groups = server_groups.hold(session, ids, strict)
    owing = hosts.owing_cleanups(session, ids)
    locked = hosts.hold(session, {name for action, _ in standing for name in action.selection})
    wanted = [
        claims.Wanted(
            server.id,
            [
                name
                for name in action.selection
                if name not in owing.get(server.id, ())
                and ("availability_zone" not in filters or _in_zone(server, locked.get(name)))
            ],
            _size(server),
            groups.get(server.id),
        )
        for action, server in standing
    ]
    chosen = claims.choose(locked, wanted)
    return chosen, [pair for pair in standing if pair[1].id in chosen]


def _in_zone(server: Server, host: Host | None) -> bool:
    wanted = None if server.forced_host else server.availability_zone
    return wanted is None or (host is not None and host.zone == wanted)


def _give_addresses(session: Session, held: Held) -> list[Action]:
    """Give every server its ports; those that get none end. Returns the actions that ended."""
    failed = addresses.allocate(session, [server for _, server in held])
    ended = []
    for action, server in held:
        if error := failed.get(server.id):
            fault = advised(Fault(error.code, error.message), "claim", None)
            endings.unplaced(session, action, server)
            endings.broken(session, action, server, fault)
            ended.append(action)
    return ended


def _move_on(session: Session, held: Held, chosen: dict[str, str]) -> None:
    for action, server in held:
        action.host = server.host = chosen[server.id]
        action.stage = "build"
        server.fence += 1
        server.task_state = "spawning"
    if held:
        actions.enter_all(session, held, slow=True)


def _size(server: Server) -> Resources:
    return Resources(server.vcpus, server.ram_mb, server.disk_gb)
