"""What voids tokens before they expire, and what a new token knows of it.

No clock decides: a token carries the newest revocation of its user, its project and its roles
there that its maker had seen, and any later one voids it. Those of one subject are in order,
because whoever writes one holds the lock of the user's or the project's row.
"""

from __future__ import annotations

import hashlib

from sqlalchemy import and_, delete, func, or_, select
from sqlalchemy.orm import Session

from app.config import settings
from app.models import Revocation, new_id, now
from app.store.database import clock

MARGIN_SECONDS = 60.0
STEP_SECONDS = 0.001
SYSTEM = "system:all"
"""What stands for the whole cloud where a project's id could be."""


def grant_key(user_id: str, target_id: str) -> str:
    """The subject of revocations about a user's roles on a project, or on SYSTEM."""
    return hashlib.sha256(f"{user_id} {target_id}".encode()).hexdigest()


def revoke(session: Session, kind: str, target: str) -> None:
    """Void one `token`, or all that exist by now of a `user`, `project`, `grant` or
    `application_credential`; for a user, project or grant, lock its row first.
    """
    latest = select(func.max(Revocation.created_at)).where(
        Revocation.kind == kind, Revocation.target == target
    )
    at = max(clock(session), (session.scalar(latest) or 0.0) + STEP_SECONDS)
    # Kept until the last token that it voids has expired, whatever the clocks of web processes.
    until = at + settings().token_seconds + MARGIN_SECONDS
    session.add(Revocation(id=new_id(), kind=kind, target=target, created_at=at, expires_at=until))
    _forget_expired(session)


def revoke_grant(session: Session, user_id: str, target_id: str) -> None:
    """Void the user's tokens for a project or SYSTEM; lock the user's row first."""
    revoke(session, "grant", grant_key(user_id, target_id))


def live(session: Session) -> list[Revocation]:
    """All that still matter: once the last token they void has expired, they do not."""
    return list(session.scalars(select(Revocation).where(Revocation.expires_at > now())))


def newest(
    session: Session, user_id: str, project_id: str | None, target_id: str
) -> tuple[float, float, float]:
    """When the user, the project, and the user's roles on the target were last revoked; 0 is never.

    Ask before reading the facts that the token vouches for: what changes in between then voids it.
    """
    subjects = (
        ("user", user_id),
        ("project", project_id or ""),
        ("grant", grant_key(user_id, target_id)),
    )
    about = or_(*(and_(Revocation.kind == k, Revocation.target == t) for k, t in subjects))
    query = select(Revocation.kind, func.max(Revocation.created_at).label("at")).where(about)
    found = {row.kind: row.at for row in session.execute(query.group_by(Revocation.kind))}
    return found.get("user", 0.0), found.get("project", 0.0), found.get("grant", 0.0)


def _forget_expired(session: Session) -> None:
    expired = (
        select(Revocation.id)
        .where(Revocation.expires_at < clock(session))
        .limit(100)
        .with_for_update(skip_locked=True)
    )
    if ids := list(session.scalars(expired)):
        session.execute(delete(Revocation).where(Revocation.id.in_(ids)))
