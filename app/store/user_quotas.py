"""Quotas of single users in a project: below the project's, and counted from their servers."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.errors import Invalid, OverQuota
from app.models import Server, UserQuota
from app.store import quotas


def limits(session: Session, project_id: str, user_id: str) -> dict[str, int]:
    """Each resource's limit for the user in the project: their own, or the project's."""
    return quotas.limits(session, project_id) | own(session, project_id, user_id)


def own(session: Session, project_id: str, user_id: str) -> dict[str, int]:
    """The limits that were set for this user."""
    rows = session.execute(
        select(UserQuota.resource, UserQuota.hard_limit).where(
            UserQuota.project_id == project_id, UserQuota.user_id == user_id
        )
    )
    return {row.resource: row.hard_limit for row in rows}


def usage(session: Session, project_id: str, user_id: str) -> dict[str, int]:
    """What the user's servers in the project take of each counted resource."""
    query = select(
        func.count(),
        func.coalesce(func.sum(Server.vcpus), 0),
        func.coalesce(func.sum(Server.ram_mb), 0),
    ).where(Server.project_id == project_id, Server.user_id == user_id, Server.deleted_at.is_(None))
    count, cores, ram = session.execute(query).one()
    return {"instances": count, "cores": int(cores), "ram": int(ram)}


def room(session: Session, project_id: str, user_id: str) -> dict[str, int]:
    """How much of each counted resource the user may still take; nothing of what has no limit.

    For a transaction that holds the project's uses: it sees whatever was taken before.
    """
    allowed = own(session, project_id, user_id)
    if not any(allowed.get(name, -1) >= 0 for name in quotas.COUNTED):
        return {}
    used = usage(session, project_id, user_id)
    return {name: allowed[name] - used[name] for name in used if allowed.get(name, -1) >= 0}


def check(room: Mapping[str, int], wanted: Mapping[str, int]) -> None:
    """Raises OverQuota when `wanted` is more than there is room for."""
    for name, left in sorted(room.items()):
        if wanted.get(name, 0) > left:
            raise OverQuota(
                f"Quota exceeded for {name}: Requested {wanted[name]}, but the user may have only "
                f"{max(left, 0)} more in this project"
            )


def set_limits(
    session: Session, project_id: str, user_id: str, given: Mapping[str, int], *, force: bool
) -> None:
    """Give the user limits of their own in the project.

    Raises Invalid, unless `force`, for a limit below what they use or above the project's.
    """
    quotas.held(session, project_id, [name for name in quotas.COUNTED if name in given])
    used, most = usage(session, project_id, user_id), quotas.limits(session, project_id)
    for name, limit in sorted(given.items()):
        if force:
            continue
        if 0 <= limit < used.get(name, 0):
            raise Invalid(
                f"Quota limit {limit} for {name} must be greater than or equal to already used "
                f"and reserved {used[name]}."
            )
        if most[name] >= 0 and not 0 <= limit <= most[name]:
            raise Invalid(
                f"Quota limit {limit} for {name} must be less than or equal to available quota "
                f"{most[name]}."
            )
    quotas.keep(session, UserQuota, {"project_id": project_id, "user_id": user_id}, given)


def reset_limits(session: Session, project_id: str, user_id: str) -> None:
    """Let the project's limits hold for the user again."""
    session.execute(
        delete(UserQuota).where(UserQuota.project_id == project_id, UserQuota.user_id == user_id)
    )
