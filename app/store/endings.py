"""How actions end: what the server, its claim, its addresses and its quota become."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.domain import states
from app.domain.advice import sentence
from app.domain.guest import NOSTATE, RUNNING
from app.domain.message import Fault
from app.domain.resources import Resources
from app.models import Action, Server
from app.store import actions, addresses, claims, cleanups, quotas, residents
from app.store.database import clock


def active(session: Session, action: Action, server: Server) -> None:
    """A create is done: the server runs."""
    actions.finish(session, action, server, states.SUCCEEDED)
    server.vm_state, server.power_state = states.ACTIVE, RUNNING
    server.launched_at = server.launched_at or clock(session)


def power(
    session: Session, action: Action, server: Server, vm_state: str | None, power_state: int
) -> None:
    """A power operation is done."""
    actions.finish(session, action, server, states.SUCCEEDED)
    server.power_state = power_state
    if vm_state is not None:
        server.vm_state = vm_state


def deleted(session: Session, action: Action, server: Server) -> None:
    """A delete is done: the server is gone for its owner, its quota free.

    Addresses stay while another host still owes a cleanup.
    """
    if server.host is not None and action.host is not None:
        claims.release(session, server.id, action.host)
    gone(session, action, server)


def gone(session: Session, action: Action, server: Server) -> None:
    """End a delete for the user, with whatever a host still owes left to its cleanup."""
    actions.inline_event(session, action, server, "release")
    actions.finish(session, action, server, states.SUCCEEDED)
    server.vm_state, server.power_state = states.DELETED, NOSTATE
    server.deleted_at = server.terminated_at = clock(session)
    server.host = None
    size = Resources(server.vcpus, server.ram_mb, server.disk_gb)
    quotas.give_back(session, server.project_id, quotas.needs(size, 1))
    residents.found(session, server.id)
    session.flush()
    if not cleanups.any_of(session, server.id):
        addresses.let_go(session, server.id)


def failed(session: Session, action: Action, server: Server, fault: Fault) -> None:
    """End an action with its fault; the server keeps its vm_state."""
    actions.finish(session, action, server, states.FAILED, fault)


def broken(session: Session, action: Action, server: Server, fault: Fault) -> None:
    """End an action with its fault; the server cannot be used."""
    show_error(server, fault)
    actions.finish(session, action, server, states.FAILED, fault)


def show_error(server: Server, fault: Fault) -> None:
    """Let the owner see at once that the server will not come."""
    server.vm_state, server.task_state = states.ERROR, None
    server.fault = {"code": 500, "reason": fault.code, "message": sentence(fault)}


def unplaced(session: Session, action: Action, server: Server) -> None:
    """Nothing of the server is on a host: claim and addresses are freed."""
    if action.host is not None:
        claims.release(session, server.id, action.host)
    server.host = None
    action.host = None
    if not cleanups.any_of(session, server.id):
        addresses.release(session, server.id)
