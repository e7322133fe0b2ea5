"""What administrators declare of servers, done in the transaction in which it is accepted."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.domain import states
from app.domain.caller import Caller
from app.models import Action
from app.store import actions, server_locks, servers


def reset_state(session: Session, caller: Caller, server_id: str, state: str) -> Action:
    """Set the server's vm_state, `active` or `error`; what it was doing ends as cancelled.

    Its host hears nothing of it. The new fence makes whatever runs there void, so the next
    request, or the next inventory, finds out how the guest really is. Raises NotFound.
    """
    server = servers.hold(session, caller, server_id)
    running = actions.unfinished(session, server_id)
    if running is not None:
        servers.pre_empt(session, running, server, "resetState")
    server.fence += 1
    server.vm_state, server.task_state = state, None
    if state == states.ACTIVE:
        server.fault = None
    return server_locks.ended(session, caller, server, "resetState")


def inject_network_info(session: Session, caller: Caller, server_id: str) -> Action:
    """Note that it was asked. Raises NotFound, and Conflict when the server is locked."""
    server = servers.hold(session, caller, server_id)
    servers.check_unlocked(caller, server)
    return server_locks.ended(session, caller, server, "injectNetworkInfo")
