"""Locking servers against changes. Each is an action that ends in the transaction it begins in.

It moves no server's state and no fence, so it disturbs nothing that runs.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.domain.states import SUCCEEDED
from app.errors import Forbidden
from app.models import Action, Server, new_id
from app.store import servers
from app.store.database import clock

OWNER, ADMIN = "owner", "admin"


def lock(session: Session, caller: Caller, server_id: str, reason: str | None) -> Action:
    """Lock the server, as its owner or as an administrator from outside. Raises NotFound.

    An owner's lock changes nothing at a server that is locked.
    """
    server = servers.hold(session, caller, server_id)
    if not server.locked or _role(caller, server) == ADMIN:
        server.locked = _role(caller, server)
        server.locked_reason = reason or server.locked_reason
    return ended(session, caller, server, "lock")


def unlock(session: Session, caller: Caller, server_id: str, *, override: bool) -> Action:
    """Unlock the server. Raises NotFound, and Forbidden for the other's lock without `override`."""
    server = servers.hold(session, caller, server_id)
    if server.locked not in (None, _role(caller, server)) and not override:
        raise Forbidden(
            "Policy doesn't allow os_compute_api:os-lock-server:unlock:unlock_override to be "
            f"performed: instance {server_id} was locked by an administrator"
        )
    server.locked = server.locked_reason = None
    return ended(session, caller, server, "unlock")


def _role(caller: Caller, server: Server) -> str:
    return OWNER if server.project_id == caller.project_id else ADMIN


def ended(session: Session, caller: Caller, server: Server, kind: str) -> Action:
    """The action of a request that is done with the transaction it came in."""
    at = clock(session)
    action = Action(
        id=new_id(),
        server_id=server.id,
        project_id=server.project_id,
        user_id=caller.user_id,
        request_id=caller.request_id,
        kind=kind,
        state=SUCCEEDED,
        stage=kind,
        progress=100,
        host=server.host,
        next_ring_at=at,
        deadline=at,
        created_at=at,
        started_at=at,
        finished_at=at,
    )
    session.add(action)
    session.flush()
    return action
