"""That there is always somebody who may do everything."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.models import Role, RoleAssignment, User

_ADMIN = "admin"


def require_one(session: Session) -> None:
    """Call after a change that may have cost an administrator, in its transaction.

    Raises Conflict when no enabled user has the role admin any more, anywhere. Concurrent changes
    wait for each other.
    """
    session.flush()
    role = select(Role.id).where(Role.name == _ADMIN).with_for_update()
    role_id = session.scalar(role)
    query = (
        select(RoleAssignment.user_id)
        .join(User, User.id == RoleAssignment.user_id)
        .where(RoleAssignment.role_id == role_id, User.enabled)
        .limit(1)
    )
    if session.scalar(query) is None:
        raise Conflict("This would leave the cloud without an administrator.")
