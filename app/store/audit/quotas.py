"""What projects use by their quota's account, against the servers they have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.models import QuotaUsage, Server
from app.store import quotas


@dataclass(frozen=True)
class Account:
    """One resource of one project: what the account says, and what its servers need."""

    project_id: str
    resource: str
    in_use: int
    needed: int


def wrong(session: Session) -> list[Account]:
    """Accounts that differ from the servers."""
    needed = {
        (row.project_id, resource): int(getattr(row, resource))
        for row in session.execute(_needs().group_by(Server.project_id))
        for resource in quotas.COUNTED
    }
    used = {
        (row.project_id, row.resource): int(row.in_use)
        for row in session.execute(
            select(QuotaUsage.project_id, QuotaUsage.resource, QuotaUsage.in_use).where(
                QuotaUsage.resource.in_(quotas.COUNTED)
            )
        )
    }
    every = [
        Account(*key, used.get(key, 0), needed.get(key, 0)) for key in sorted({*needed, *used})
    ]
    return [one for one in every if one.in_use != one.needed]


def count_again(session: Session, project_id: str) -> bool:
    """Set the project's account to what its servers need.

    Whoever makes or ends a server holds these rows when it is committed, or waits for them.
    """
    quotas.held(session, project_id, quotas.COUNTED)
    row = session.execute(_needs().where(Server.project_id == project_id)).one_or_none()
    for resource in quotas.COUNTED:
        needed = int(getattr(row, resource) or 0) if row is not None else 0
        session.execute(
            update(QuotaUsage)
            .where(QuotaUsage.project_id == project_id, QuotaUsage.resource == resource)
            .values(in_use=needed)
        )
    return True


def _needs() -> Any:
    return (
        select(
            func.max(Server.project_id).label("project_id"),
            func.count().label("instances"),
            func.coalesce(func.sum(Server.vcpus), 0).label("cores"),
            func.coalesce(func.sum(Server.ram_mb), 0).label("ram"),
        )
        .select_from(Server)
        .where(Server.deleted_at.is_(None))
    )
