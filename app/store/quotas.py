"""Quota use: raised only by a conditional UPDATE, so that it never passes the limit."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.domain.resources import Resources
from app.errors import OverQuota
from app.models import Quota, QuotaUsage
from app.store.database import changed

DEFAULTS = {
    "instances": 10,
    "cores": 20,
    "ram": 51200,
    "key_pairs": 100,
    "metadata_items": 128,
    "server_groups": 10,
    "server_group_members": 10,
    "injected_files": 5,
    "injected_file_content_bytes": 10240,
    "injected_file_path_bytes": 255,
}
"""Nova's default quotas; ram in MiB."""


def limits(session: Session, project_id: str) -> dict[str, int]:
    """Each resource's limit for the project; -1 is without limit."""
    own = session.execute(
        select(Quota.resource, Quota.hard_limit).where(Quota.project_id == project_id)
    )
    return DEFAULTS | {row.resource: row.hard_limit for row in own}


def usage(session: Session, project_id: str) -> dict[str, int]:
    """What the project uses of each counted resource."""
    rows = session.execute(
        select(QuotaUsage.resource, QuotaUsage.in_use).where(QuotaUsage.project_id == project_id)
    )
    return {"instances": 0, "cores": 0, "ram": 0} | {row.resource: row.in_use for row in rows}


def needs(resources: Resources, count: int) -> dict[str, int]:
    """What `count` servers of this size take of the quota."""
    return {
        "instances": count,
        "cores": resources.vcpus * count,
        "ram": resources.ram_mb * count,
    }


def take(session: Session, project_id: str, wanted: Mapping[str, int]) -> None:
    """Raise the project's use by `wanted`, or raise OverQuota and name what does not fit."""
    allowed = limits(session, project_id)
    insert = (sqlite if session.get_bind().dialect.name == "sqlite" else postgresql).insert
    for resource, amount in sorted(wanted.items()):
        session.execute(
            insert(QuotaUsage)
            .values(project_id=project_id, resource=resource, in_use=0)
            .on_conflict_do_nothing()
        )
        limit = allowed[resource]
        statement = update(QuotaUsage).where(
            QuotaUsage.project_id == project_id, QuotaUsage.resource == resource
        )
        if limit >= 0:
            statement = statement.where(QuotaUsage.in_use + amount <= limit)
        raised = statement.values(in_use=QuotaUsage.in_use + amount)
        if changed(session, raised) == 0:
            used = usage(session, project_id).get(resource, 0)
            raise OverQuota(
                f"Quota exceeded for {resource}: Requested {amount}, but already used "
                f"{used} of {limit} {resource}"
            )


def give_back(session: Session, project_id: str, freed: Mapping[str, int]) -> None:
    """Lower the project's use by `freed`."""
    for resource, amount in sorted(freed.items()):
        session.execute(
            update(QuotaUsage)
            .where(QuotaUsage.project_id == project_id, QuotaUsage.resource == resource)
            .values(in_use=QuotaUsage.in_use - amount)
        )
