"""Stage `claim`: take the capacity and the addresses, all claims of a request in one go."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.domain.advice import advised
from app.domain.message import Fault
from app.domain.resources import Resources
from app.errors import Conflict
from app.models import Action, Server
from app.store import actions, addresses, claims, endings, hosts


def claim(session: Session, request_id: str) -> tuple[list[Action], bool, list[Action]]:
    """Claim for the request's actions at this stage.

    Returns those that may be built now, whether some must be scheduled again (their selections
    were used up by lost races), and those that ended.
    """
    built, again, ended = [], False, []
    held = actions.hold_request(session, request_id, "claim")
    hosts.lock(session, {host for action, _ in held for host in action.selection})
    for action, server in held:
        try:
            with session.begin_nested():
                host = _first_with_room(session, action, server)
                if host is not None:
                    addresses.allocate(session, server)
        except Conflict as error:
            fault = advised(Fault(error.code, error.message), "claim", None)
            endings.unplaced(session, action, server)
            endings.broken(session, action, server, fault)
            ended.append(action)
            continue
        if host is None:
            actions.end_event(session, action, "failed")
            actions.enter(session, action, server, "schedule")
            again = True
            continue
        _place(session, action, server, host)
        built.append(action)
    return built, again, ended


def _first_with_room(session: Session, action: Action, server: Server) -> str | None:
    wanted = Resources(server.vcpus, server.ram_mb, server.disk_gb)
    owing = hosts.owing_cleanup(session, server.id)
    for host in action.selection:
        if host not in owing and claims.take(session, server.id, host, wanted):
            return host
    return None


def _place(session: Session, action: Action, server: Server, host: str) -> None:
    action.host = server.host = host
    actions.end_event(session, action)
    server.fence += 1
    server.task_state = "spawning"
    actions.enter(session, action, server, "build", slow=True)
