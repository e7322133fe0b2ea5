"""Tags of servers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sqlalchemy import ColumnElement, and_, delete, func, not_, select
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.domain.states import check_label
from app.errors import Invalid, NotFound
from app.models import Server, ServerTag, now
from app.store import servers
from app.store.among import among
from app.store.database import changed

MOST = 50
"""Tags that a server may have."""


def by_server(session: Session, ids: Sequence[str]) -> dict[str, list[str]]:
    """The tags of each of these servers, in order: one query."""
    query = select(ServerTag.server_id, ServerTag.tag).where(
        among(session, ServerTag.server_id, ids)
    )
    found: dict[str, list[str]] = {}
    for server_id, tag in session.execute(query.order_by(ServerTag.tag)):
        found.setdefault(server_id, []).append(tag)
    return found


def replace(session: Session, caller: Caller, server_id: str, tags: Iterable[str]) -> list[str]:
    """Put `tags` in place of those the server has; what it has then.

    Raises NotFound, Conflict by lock or state, and Invalid for more than MOST.
    """
    wanted = sorted(set(tags))
    if len(wanted) > MOST:
        raise _too_many()
    server = _changeable(session, caller, server_id, "replace tags")
    session.execute(delete(ServerTag).where(ServerTag.server_id == server_id))
    session.add_all(ServerTag(server_id=server_id, tag=tag) for tag in wanted)
    server.updated_at = now()
    return wanted


def add(session: Session, caller: Caller, server_id: str, tag: str) -> bool:
    """Give the server one tag more; False when it has it already. Raises as `replace` does."""
    server = _changeable(session, caller, server_id, "add tag")
    if session.get(ServerTag, (server_id, tag)) is not None:
        return False
    count = select(func.count()).select_from(ServerTag).where(ServerTag.server_id == server_id)
    if (session.scalar(count) or 0) >= MOST:
        raise _too_many()
    session.add(ServerTag(server_id=server_id, tag=tag))
    server.updated_at = now()
    return True


def remove(session: Session, caller: Caller, server_id: str, tag: str) -> None:
    """Take one tag from the server; raises as `replace` does, and NotFound without it."""
    server = _changeable(session, caller, server_id, "delete tag")
    gone = delete(ServerTag).where(ServerTag.server_id == server_id, ServerTag.tag == tag)
    if changed(session, gone) == 0:
        raise NotFound(missing(server_id, tag))
    server.updated_at = now()


def missing(server_id: str, tag: str) -> str:
    """What is said of a tag that a server has not."""
    return f"Server {server_id} has no tag '{tag[:60]}'"


def carries_all(tags: Sequence[str]) -> ColumnElement[bool]:
    """Servers with every one of `tags`."""
    return and_(*(carries_any([tag]) for tag in tags))


def carries_any(tags: Sequence[str]) -> ColumnElement[bool]:
    """Servers with at least one of `tags`."""
    return Server.id.in_(select(ServerTag.server_id).where(ServerTag.tag.in_(tags)))


def carries_not_all(tags: Sequence[str]) -> ColumnElement[bool]:
    """Servers without at least one of `tags`."""
    return not_(carries_all(tags))


def carries_none(tags: Sequence[str]) -> ColumnElement[bool]:
    """Servers with none of `tags`."""
    return not_(carries_any(tags))


def _changeable(session: Session, caller: Caller, server_id: str, verb: str) -> Server:
    server = servers.hold(session, caller, server_id)
    check_label(verb, server_id, server.vm_state, server.task_state)
    return server


def _too_many() -> Invalid:
    return Invalid(f"The number of tags exceeded the per-server limit {MOST}")
