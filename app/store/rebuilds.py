"""Giving a server another disk: by a rebuild, or for a rescue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy.orm import Session

from app.domain import states
from app.domain.caller import Caller
from app.models import Action, Server
from app.store import actions, servers


def rebuild(session: Session, caller: Caller, server: Server, changes: Mapping[str, Any]) -> Action:
    """Accept a rebuild that sets the server's columns to `changes`, a new `image_id` among them.

    They show at once, and go back to what they were when the rebuild fails before the guest is
    touched, but for those that have been changed again meanwhile. Raises Conflict.
    """
    args = {"stay_off": server.vm_state == states.STOPPED}
    action = servers.request(session, caller, server.id, "rebuild", args)
    before = {column: getattr(server, column) for column in changes}
    action.args = {**action.args, actions.BEFORE: before, actions.AFTER: dict(changes)}
    for column, value in changes.items():
        setattr(server, column, value)
    session.flush()
    return action


def rescue(session: Session, caller: Caller, server_id: str, image_id: str) -> Action:
    """Accept a rescue from that image. Raises NotFound and Conflict."""
    return servers.request(session, caller, server_id, "rescue", {"image_id": image_id})
