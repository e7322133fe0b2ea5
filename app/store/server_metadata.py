"""Metadata of servers: keys and values that their owners give them, in the server's own row."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.domain.states import check_label
from app.errors import NotFound, OverQuota
from app.models import Server
from app.store import quotas, servers


def merge(
    session: Session, caller: Caller, server_id: str, given: Mapping[str, str]
) -> dict[str, str]:
    """Add or change `given`; all that the server has then.

    Raises NotFound, Conflict by lock or state, and OverQuota over the quota of metadata_items.
    """
    server = _changeable(session, caller, server_id, "update metadata")
    return _keep(session, server, {**server.meta, **given})


def replace(
    session: Session, caller: Caller, server_id: str, given: Mapping[str, str]
) -> dict[str, str]:
    """Put `given` in place of what the server has; raises as `merge` does."""
    server = _changeable(session, caller, server_id, "update metadata")
    return _keep(session, server, dict(given))


def remove(session: Session, caller: Caller, server_id: str, key: str) -> None:
    """Forget one key; raises as `merge` does, and NotFound for a key that is not there."""
    server = _changeable(session, caller, server_id, "delete metadata")
    item(server.meta, key)
    server.meta = {name: value for name, value in server.meta.items() if name != key}


def item(metadata: Mapping[str, str], key: str) -> str:
    """The value of one key. Raises NotFound."""
    if key not in metadata:
        raise NotFound("Metadata item was not found")
    return metadata[key]


def check_quota(session: Session, project_id: str, count: int) -> None:
    """Raises OverQuota when the project's servers may not have `count` items each."""
    limit = quotas.limits(session, project_id)["metadata_items"]
    if 0 <= limit < count:
        raise OverQuota(f"Maximum number of metadata items exceeds {limit}")


def _changeable(session: Session, caller: Caller, server_id: str, verb: str) -> Server:
    server = servers.hold(session, caller, server_id)
    servers.check_unlocked(caller, server)
    check_label(verb, server_id, server.vm_state, server.task_state)
    return server


def _keep(session: Session, server: Server, metadata: dict[str, str]) -> dict[str, str]:
    check_quota(session, server.project_id, len(metadata))
    server.meta = metadata
    return metadata
