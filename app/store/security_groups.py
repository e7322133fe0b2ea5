"""Security groups and their rules."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import delete, insert, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.domain.networking import network_of
from app.domain.security_groups import (
    DEFAULT_DESCRIPTION,
    DEFAULT_GROUP,
    default_id,
    first_rules,
)
from app.errors import Conflict, NotFound
from app.models import (
    PortGroup,
    SecurityGroup,
    SecurityRule,
    Server,
    ServerSecurityGroup,
    new_id,
    now,
)
from app.store import host_networking, network_quotas


def ensure_default(session: Session, project_id: str) -> str:
    """The id of the project's default group, which is made when there is none yet."""
    group_id = default_id(project_id)
    if session.get(SecurityGroup, group_id) is not None:
        return group_id
    on_sqlite = session.get_bind().dialect.name == "sqlite"
    row = {
        "id": group_id,
        "project_id": project_id,
        "name": DEFAULT_GROUP,
        "description": DEFAULT_DESCRIPTION,
        "created_at": now(),
        "updated_at": now(),
    }
    insertion: Any = (sqlite if on_sqlite else postgresql).insert(SecurityGroup).values(row)
    result: Any = session.execute(insertion.on_conflict_do_nothing())
    if result.rowcount:
        _add_rules(session, group_id, project_id, default=True)
    return group_id


def has_default(session: Session, project_id: str) -> bool:
    """Whether the project's default group was made."""
    return session.get(SecurityGroup, default_id(project_id)) is not None


def _add_rules(session: Session, group_id: str, project_id: str, *, default: bool) -> None:
    for rule in first_rules(group_id, default=default):
        session.add(SecurityRule(project_id=project_id, group_id=group_id, **rule))
    session.flush()


def create(session: Session, project_id: str, name: str, description: str) -> SecurityGroup:
    """A new group, which lets everything out and nothing in."""
    ensure_default(session, project_id)
    network_quotas.check(session, project_id, "security_group", SecurityGroup)
    if name == DEFAULT_GROUP:
        raise Conflict(
            "Default security group already exists.", code="SecurityGroupDefaultAlreadyExists"
        )
    group = SecurityGroup(id=new_id(), project_id=project_id, name=name, description=description)
    session.add(group)
    session.flush()
    _add_rules(session, group.id, project_id, default=False)
    return group


def get(session: Session, caller: Caller, group_id: str) -> SecurityGroup:
    """A group of the caller's, or any for an administrator; else NotFound."""
    found = session.get(SecurityGroup, group_id)
    if found is None or not (caller.is_admin or found.project_id == caller.project_id):
        raise NotFound(f"Security group {group_id} does not exist", code="SecurityGroupNotFound")
    caller.hold(found.id, found.project_id)
    return found


def change(
    session: Session, caller: Caller, group_id: str, values: Mapping[str, str]
) -> SecurityGroup:
    """Another name or description; the default group keeps its name."""
    found = get(session, caller, group_id)
    renamed = values.get("name", found.name) != found.name
    if renamed and DEFAULT_GROUP in (found.name, values["name"]):
        raise Conflict(
            "Updating default security group not allowed.",
            code="SecurityGroupCannotUpdateDefault",
        )
    for name, value in values.items():
        setattr(found, name, value)
    session.flush()
    session.refresh(found)
    return found


def remove(session: Session, caller: Caller, group_id: str) -> None:
    """Remove a group, its rules, and those that name it. Raises Conflict while it is in use."""
    found = get(session, caller, group_id)
    if found.name == DEFAULT_GROUP and not caller.is_admin:
        raise Conflict(
            "Insufficient rights for removing default security group.",
            code="SecurityGroupCannotRemoveDefault",
        )
    locked = select(SecurityGroup.id).where(SecurityGroup.id == group_id).with_for_update()
    session.execute(locked)
    if in_use(session, group_id):
        raise Conflict(f"Security Group {group_id} in use.", code="SecurityGroupInUse")
    naming = select(SecurityRule.group_id).where(SecurityRule.remote_group_id == group_id)
    concerned = host_networking.of_groups(session, list(session.scalars(naming.distinct())))
    session.execute(
        delete(SecurityRule).where(
            (SecurityRule.remote_group_id == group_id) | (SecurityRule.group_id == group_id)
        )
    )
    session.execute(delete(ServerSecurityGroup).where(ServerSecurityGroup.group_id == group_id))
    session.execute(delete(SecurityGroup).where(SecurityGroup.id == group_id))
    host_networking.touch(session, concerned)


def in_use(session: Session, group_id: str) -> bool:
    """Whether a port, or a server whose ports are still to come, is in the group."""
    ports = select(PortGroup.port_id).where(PortGroup.group_id == group_id)
    servers = (
        select(ServerSecurityGroup.server_id)
        .join(Server, Server.id == ServerSecurityGroup.server_id)
        .where(ServerSecurityGroup.group_id == group_id, Server.deleted_at.is_(None))
    )
    return any(session.scalar(query.limit(1)) is not None for query in (ports, servers))


def rules_of(session: Session, group_ids: Collection[str]) -> dict[str, list[SecurityRule]]:
    """The rules of each group."""
    found: dict[str, list[SecurityRule]] = {group: [] for group in group_ids}
    query = select(SecurityRule).where(SecurityRule.group_id.in_(group_ids))
    for rule in session.scalars(query.order_by(SecurityRule.created_at, SecurityRule.id)):
        found[rule.group_id].append(rule)
    return found


def names(session: Session, group_ids: Collection[str]) -> dict[str, tuple[str, str]]:
    """(name, project) of each group."""
    query = select(SecurityGroup.id, SecurityGroup.name, SecurityGroup.project_id)
    rows = session.execute(query.where(SecurityGroup.id.in_(group_ids)))
    return {row.id: (row.name, row.project_id) for row in rows}


def get_rule(session: Session, caller: Caller, rule_id: str) -> SecurityRule:
    """A rule of the caller's, or any for an administrator; else NotFound."""
    found = session.get(SecurityRule, rule_id)
    if found is None or not (caller.is_admin or found.project_id == caller.project_id):
        raise NotFound(
            f"Security group rule {rule_id} does not exist", code="SecurityGroupRuleNotFound"
        )
    caller.hold(found.id, found.project_id)
    return found


def add_rule(session: Session, caller: Caller, rule: SecurityRule) -> SecurityRule:
    """Let more pass. Raises NotFound for a group that is not the caller's, Conflict for a rule
    that is there."""
    session.execute(
        select(SecurityGroup.id).where(SecurityGroup.id == rule.group_id).with_for_update()
    )
    group = get(session, caller, rule.group_id)
    if rule.remote_group_id is not None:
        get(session, caller, rule.remote_group_id)
    rule.project_id = group.project_id
    network_quotas.check(session, group.project_id, "security_group_rule", SecurityRule)
    if (twin := _twin(session, rule)) is not None:
        raise Conflict(
            f"Security group rule already exists. Rule id is {twin}.",
            code="SecurityGroupRuleExists",
        )
    session.add(rule)
    session.flush()
    host_networking.touch(session, host_networking.of_groups(session, [rule.group_id]))
    return rule


_SAME = (
    "group_id", "direction", "ethertype", "protocol", "port_min", "port_max", "remote_group_id",
)  # fmt: skip


def _twin(session: Session, rule: SecurityRule) -> str | None:
    """A rule that lets the same pass; the prefix may be written otherwise."""
    query = select(SecurityRule.id, SecurityRule.remote_ip)
    for name in _SAME:
        query = query.where(getattr(SecurityRule, name).is_not_distinct_from(getattr(rule, name)))
    same = network_of(rule.remote_ip)
    return next((id_ for id_, ip in session.execute(query) if network_of(ip) == same), None)


def remove_rule(session: Session, caller: Caller, rule_id: str) -> None:
    """Let less pass."""
    found = get_rule(session, caller, rule_id)
    session.delete(found)
    session.flush()
    host_networking.touch(session, host_networking.of_groups(session, [found.group_id]))


def named(session: Session, project_id: str, names: Iterable[str]) -> tuple[tuple[str, str], ...]:
    """(id, name) of the project's groups that these names or ids mean, in order.

    Raises NotFound for one that is not there, Conflict for a name that several have.
    """
    found: dict[str, str] = {}
    for name in dict.fromkeys(names):
        query = select(SecurityGroup.id, SecurityGroup.name).where(
            SecurityGroup.project_id == project_id
        )
        rows = session.execute(query.where(SecurityGroup.id == name)).all()
        rows = rows or session.execute(query.where(SecurityGroup.name == name)).all()
        if not rows and name in (DEFAULT_GROUP, default_id(project_id)):
            found[default_id(project_id)] = DEFAULT_GROUP  # whoever uses it makes it
            continue
        if not rows:
            raise NotFound(
                f"Security group {name} not found for project {project_id}.", code="no_group"
            )
        if len(rows) > 1:
            raise Conflict(
                f"Multiple security groups found matching '{name}'. Use an ID to be more specific.",
                code="ambiguous_group",
            )
        found[rows[0].id] = rows[0].name
    return tuple(found.items())


def join(session: Session, port_ids: Iterable[str], group_ids: Iterable[str]) -> None:
    """Let these ports be in these groups, and in no others."""
    ports = sorted(set(port_ids))
    session.execute(delete(PortGroup).where(PortGroup.port_id.in_(ports)))
    rows = [
        {"port_id": one, "group_id": group} for one in ports for group in sorted(set(group_ids))
    ]
    if rows:
        session.execute(insert(PortGroup), rows)
