"""Quotas: limits of projects, and use that is raised only by a conditional UPDATE.

Whoever raises a use or sets a limit first holds the rows of the uses: neither passes the other.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from sqlalchemy import delete, func, literal, select, union_all, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.domain.resources import Resources
from app.errors import Invalid, OverQuota
from app.models import Quota, QuotaClass, QuotaUsage, ServerGroup, UserQuota
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
    "fixed_ips": -1,
    "floating_ips": -1,
    "security_groups": -1,
    "security_group_rules": -1,
}
"""Nova's default quotas; ram in MiB, -1 is without limit."""
RESOURCES = tuple(DEFAULTS)
NETWORK = ("fixed_ips", "floating_ips", "security_groups", "security_group_rules")
"""Neutron's in truth: Nova below 2.36 has them, nothing here is held against them."""
INJECTED = ("injected_files", "injected_file_content_bytes", "injected_file_path_bytes")
"""Of files in a create's body, which Nova has below 2.57."""
COUNTED = ("instances", "cores", "ram")
"""Those whose use is kept per project."""
GROUPS = "server_groups"
"""Its use is the number of rows; who adds one holds its row here all the same."""


DEFAULT_CLASS = "default"


def limits(session: Session, project_id: str) -> dict[str, int]:
    """Each resource's limit for the project; -1 is without limit."""
    own = select(literal(1).label("rank"), Quota.resource, Quota.hard_limit).where(
        Quota.project_id == project_id, Quota.resource.in_(DEFAULTS)
    )
    of_all = select(literal(0).label("rank"), QuotaClass.resource, QuotaClass.hard_limit).where(
        QuotaClass.class_name == DEFAULT_CLASS
    )
    rows = session.execute(union_all(of_all, own).order_by("rank"))
    return DEFAULTS | {row.resource: row.hard_limit for row in rows}


def class_limits(session: Session, class_name: str = DEFAULT_CLASS) -> dict[str, int]:
    """Each resource's limit for the class."""
    query = select(QuotaClass.resource, QuotaClass.hard_limit)
    rows = session.execute(query.where(QuotaClass.class_name == class_name))
    return DEFAULTS | {row.resource: row.hard_limit for row in rows}


def set_class_limits(session: Session, class_name: str, given: Mapping[str, int]) -> None:
    """Give the class limits of its own; those of `default` hold for all without their own."""
    keep(session, QuotaClass, {"class_name": class_name}, given)


def usage(session: Session, project_id: str) -> dict[str, int]:
    """What the project uses of each counted resource."""
    rows = session.execute(
        select(QuotaUsage.resource, QuotaUsage.in_use).where(
            QuotaUsage.project_id == project_id, QuotaUsage.resource.in_(COUNTED)
        )
    )
    found = dict.fromkeys(COUNTED, 0) | {row.resource: row.in_use for row in rows}
    return found | {GROUPS: _groups(session, project_id)}


def needs(resources: Resources, count: int) -> dict[str, int]:
    """What `count` servers of this size take of the quota."""
    return {
        "instances": count,
        "cores": resources.vcpus * count,
        "ram": resources.ram_mb * count,
    }


def held(session: Session, project_id: str, resources: Collection[str]) -> dict[str, int]:
    """The project's use of `resources`, which nobody else changes before this transaction ends."""
    names = sorted(resources)
    if not names:
        return {}
    rows = [{"project_id": project_id, "resource": name, "in_use": 0} for name in names]
    session.execute(_insert(session, QuotaUsage).values(rows).on_conflict_do_nothing())
    found = session.execute(
        select(QuotaUsage.resource, QuotaUsage.in_use)
        .where(QuotaUsage.project_id == project_id, QuotaUsage.resource.in_(names))
        .order_by(QuotaUsage.resource)
        .with_for_update()
    )
    used = {row.resource: row.in_use for row in found}
    return used | ({GROUPS: _groups(session, project_id)} if GROUPS in names else {})


def _groups(session: Session, project_id: str) -> int:
    count = select(func.count()).select_from(ServerGroup)
    return session.scalar(count.where(ServerGroup.project_id == project_id)) or 0


def take(session: Session, project_id: str, wanted: Mapping[str, int]) -> None:
    """Raise the project's use by `wanted`, or raise OverQuota and name what does not fit."""
    used = held(session, project_id, wanted)
    allowed = limits(session, project_id)  # as they are now that nobody can lower them
    for resource, amount in sorted(wanted.items()):
        limit = allowed[resource]
        statement = update(QuotaUsage).where(
            QuotaUsage.project_id == project_id, QuotaUsage.resource == resource
        )
        if limit >= 0:
            statement = statement.where(QuotaUsage.in_use + amount <= limit)
        raised = statement.values(in_use=QuotaUsage.in_use + amount)
        if changed(session, raised) == 0:
            raise OverQuota(
                f"Quota exceeded for {resource}: Requested {amount}, but already used "
                f"{used[resource]} of {limit} {resource}"
            )


def give_back(session: Session, project_id: str, freed: Mapping[str, int]) -> None:
    """Lower the project's use by `freed`."""
    for resource, amount in sorted(freed.items()):
        session.execute(
            update(QuotaUsage)
            .where(QuotaUsage.project_id == project_id, QuotaUsage.resource == resource)
            .values(in_use=QuotaUsage.in_use - amount)
        )


def set_limits(
    session: Session, project_id: str, given: Mapping[str, int], *, force: bool = False
) -> None:
    """Give the project limits of its own.

    Raises Invalid, unless `force`, for a limit below what the project uses by now.
    """
    used = held(session, project_id, [name for name in (*COUNTED, GROUPS) if name in given])
    for resource, limit in sorted(given.items()):
        if not force and 0 <= limit < used.get(resource, 0):
            raise Invalid(
                f"Quota limit {limit} for {resource} must be greater than or equal to already "
                f"used and reserved {used[resource]}."
            )
    keep(session, Quota, {"project_id": project_id}, given)


def keep(
    session: Session,
    table: type[Quota | UserQuota | QuotaClass],
    whose: Mapping[str, str],
    given: Mapping[str, int],
) -> None:
    """Write limits into one of the three tables of them; `whose` are its other key columns."""
    rows = [{**whose, "resource": name, "hard_limit": given[name]} for name in sorted(given)]
    if rows:
        statement = _insert(session, table).values(rows)
        session.execute(
            statement.on_conflict_do_update(
                index_elements=[*whose, "resource"],
                set_={"hard_limit": statement.excluded.hard_limit},
            )
        )


def reset_limits(session: Session, project_id: str) -> None:
    """Let the defaults hold for the project and its users again."""
    session.execute(
        delete(Quota).where(Quota.project_id == project_id, Quota.resource.in_(DEFAULTS))
    )
    session.execute(delete(UserQuota).where(UserQuota.project_id == project_id))


def _insert(session: Session, table: type[Any]) -> Any:
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    return (sqlite if on_sqlite else postgresql).insert(table)
