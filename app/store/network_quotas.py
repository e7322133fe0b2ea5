"""Neutron's quotas: how many networks and the like a project may have.

What is used is counted where it is checked, with the project's row for it held: two creates
cannot both take the last one. Ports that are made for servers count, and are not refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.models import (
    FloatingIp,
    Network,
    Port,
    Quota,
    Router,
    SecurityGroup,
    SecurityRule,
    Subnet,
)
from app.store import quotas

DEFAULTS = {
    "network": 100,
    "subnet": 100,
    "port": 500,
    "router": 10,
    "floatingip": 50,
    "security_group": 10,
    "security_group_rule": 100,
    "subnetpool": 0,
    "rbac_policy": 0,
}
"""Neutron's defaults; there is nothing of what has the limit 0."""
_COUNTED: Mapping[str, Any] = {
    "network": Network,
    "subnet": Subnet,
    "port": Port,
    "router": Router,
    "floatingip": FloatingIp,
    "security_group": SecurityGroup,
    "security_group_rule": SecurityRule,
}


def limits(session: Session, project_id: str) -> dict[str, int]:
    """Each resource's limit for the project; -1 is without limit."""
    own = session.execute(
        select(Quota.resource, Quota.hard_limit).where(
            Quota.project_id == project_id, Quota.resource.in_(DEFAULTS)
        )
    )
    return DEFAULTS | {row.resource: row.hard_limit for row in own}


def used(session: Session, project_id: str) -> dict[str, int]:
    """How many of each the project has."""
    return {name: _count(session, project_id, kind) for name, kind in _COUNTED.items()}


def check(session: Session, project_id: str, resource: str, kind: Any, more: int = 1) -> None:
    """Raises Conflict "OverQuota", as Neutron does, unless `more` of the resource are allowed."""
    quotas.held(session, project_id, [resource])
    limit = limits(session, project_id)[resource]
    if 0 <= limit < _count(session, project_id, kind) + more:
        raise Conflict(f"Quota exceeded for resources: ['{resource}'].", code="OverQuota")


def set_limits(session: Session, project_id: str, given: Mapping[str, int]) -> None:
    """Give the project limits of its own."""
    quotas.set_limits(session, project_id, given, force=True)


def reset(session: Session, project_id: str) -> None:
    """Let the defaults hold for the project again."""
    session.execute(
        delete(Quota).where(Quota.project_id == project_id, Quota.resource.in_(DEFAULTS))
    )


def page(session: Session, limit: int, marker: str | None = None) -> dict[str, dict[str, int]]:
    """The limits of projects with limits of their own, by id: so many after `marker`; one query."""
    theirs = select(Quota.project_id).where(Quota.resource.in_(DEFAULTS)).distinct()
    if marker is not None:
        theirs = theirs.where(Quota.project_id > marker)
    theirs = theirs.order_by(Quota.project_id).limit(limit)
    query = select(Quota.project_id, Quota.resource, Quota.hard_limit).where(
        Quota.project_id.in_(theirs), Quota.resource.in_(DEFAULTS)
    )
    found: dict[str, dict[str, int]] = {}
    for row in session.execute(query.order_by(Quota.project_id)):
        found.setdefault(row.project_id, dict(DEFAULTS))[row.resource] = row.hard_limit
    return found


def _count(session: Session, project_id: str, kind: Any) -> int:
    query = select(func.count()).select_from(kind).where(kind.project_id == project_id)
    return session.scalar(query) or 0
