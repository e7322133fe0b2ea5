"""Server groups: make, show and forget them; who is in one, and on which host.

Who counts the servers of a group to add one more, on a host or at all, holds the group's row.
Rows are locked in the order servers, groups, hosts, quotas.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.domain.request_spec import AFFINITY, ANTI_AFFINITY, Group
from app.errors import Forbidden, NotFound, OverQuota
from app.models import Action, Project, Server, ServerGroup, ServerGroupMember
from app.store import quotas


@dataclass
class Placed:
    """A group that is held, and how many of its servers each host has; `take` adds one."""

    policy: str
    most: int
    hosts: Counter[str]

    def admits(self, host: str) -> bool:
        """Whether the policy lets one more server onto `host`."""
        if self.policy == AFFINITY:
            return not self.hosts or host in self.hosts
        return self.policy != ANTI_AFFINITY or self.hosts[host] < self.most

    def take(self, host: str) -> None:
        """Count one more server there."""
        self.hosts[host] += 1


def page(
    session: Session, caller: Caller, *, all_projects: bool, limit: int, offset: int
) -> list[ServerGroup]:
    """The project's groups, oldest first; `all_projects`: everybody's."""
    query = select(ServerGroup).order_by(ServerGroup.created_at, ServerGroup.id)
    if not all_projects:
        query = query.where(ServerGroup.project_id == caller.project_id)
    return list(session.scalars(query.limit(limit).offset(offset)))


def get(session: Session, caller: Caller, group_id: str, *, lock: bool = False) -> ServerGroup:
    """One group that the caller may see; `lock` it for a change. Raises NotFound."""
    query = select(ServerGroup).where(ServerGroup.id == group_id)
    if not caller.is_admin:
        query = query.where(ServerGroup.project_id == caller.project_id)
    found = session.scalars(query.with_for_update() if lock else query).one_or_none()
    if found is None:
        raise NotFound(f"Instance group {group_id[:64]} could not be found.")
    caller.hold(found.id, found.project_id, found.user_id)
    return found


def add(session: Session, group: ServerGroup) -> None:
    """Keep a new group. Raises OverQuota."""
    used = quotas.held(session, group.project_id, ["server_groups"])["server_groups"]
    if session.scalar(select(Project.id).where(Project.id == group.project_id)) is None:
        raise Forbidden(f"Project {group.project_id} has just been deleted.")
    limit = quotas.limits(session, group.project_id)["server_groups"]
    if 0 <= limit <= used:
        raise OverQuota(f"Quota exceeded, too many server groups: {limit} are allowed.")
    session.add(group)
    session.flush()


def remove(session: Session, caller: Caller, group_id: str) -> None:
    """Forget a group; its servers live on. Raises NotFound."""
    session.delete(get(session, caller, group_id, lock=True))


def members(session: Session, groups: Sequence[ServerGroup]) -> dict[str, list[str]]:
    """The servers of each of these groups that are not deleted, oldest first."""
    found: dict[str, list[str]] = {group.id: [] for group in groups}
    rows = (
        select(ServerGroupMember.group_id, Server.id)
        .join(Server, Server.id == ServerGroupMember.server_id)
        .where(ServerGroupMember.group_id.in_(list(found)), Server.deleted_at.is_(None))
        .order_by(Server.created_at, Server.id)
    )
    for group_id, server_id in session.execute(rows):
        found[group_id].append(server_id)
    return found


def by_server(session: Session, server_ids: Collection[str]) -> dict[str, str]:
    """The group of each of these servers that is in one."""
    rows = select(ServerGroupMember.server_id, ServerGroupMember.group_id)
    found = session.execute(rows.where(ServerGroupMember.server_id.in_(list(server_ids))))
    return {row.server_id: row.group_id for row in found}


def join(session: Session, caller: Caller, group_id: str, server_ids: Sequence[str]) -> None:
    """Put new servers into a group whose row is held. Raises OverQuota."""
    there = session.scalar(
        select(func.count())
        .select_from(ServerGroupMember)
        .join(Server, Server.id == ServerGroupMember.server_id)
        .where(ServerGroupMember.group_id == group_id, Server.deleted_at.is_(None))
    )
    limit = quotas.limits(session, caller.project_id)["server_group_members"]
    if 0 <= limit < (there or 0) + len(server_ids):
        raise OverQuota(
            f"Quota exceeded, too many servers in group: {there} are in it, {limit} are allowed."
        )
    session.add_all(ServerGroupMember(server_id=one, group_id=group_id) for one in server_ids)
    session.flush()


def group_of(session: Session, server: Server) -> Group | None:
    """The group of a server to be placed, with its other servers counted by host.

    One that is not kept yet is in the group that its hints name. What has been chosen for others
    and is about to be claimed counts as taken.
    """
    kept = select(ServerGroupMember.group_id).where(ServerGroupMember.server_id == server.id)
    group_id = session.scalar(kept) if server.id else server.scheduler_hints.get("group")
    group = session.get(ServerGroup, group_id) if group_id else None
    if group is None:
        return None
    others = _others(group.id, server.id or "").add_columns(Action.selection)
    others = others.outerjoin(
        Action,
        (Action.server_id == Server.id) & Action.finished_at.is_(None) & (Action.stage == "claim"),
    )
    found = [row.host or (row.selection or [None])[0] for row in session.execute(others)]
    counts = Counter(host for host in found if host is not None)
    return Group(group.policy, counts, group.max_server_per_host or 1)


def hold(
    session: Session, server_ids: Collection[str], policies: Collection[str]
) -> dict[str, Placed]:
    """The groups of these servers that have one of these policies, by server id, rows locked."""
    belongs = by_server(session, server_ids)
    if not belongs:
        return {}
    rows = select(ServerGroup).where(
        ServerGroup.id.in_(set(belongs.values())), ServerGroup.policy.in_(list(policies))
    )
    locked = session.scalars(rows.order_by(ServerGroup.id).with_for_update()).all()
    placed = {group.id: _placed(session, group) for group in locked}
    return {one: placed[group_id] for one, group_id in belongs.items() if group_id in placed}


def _placed(session: Session, group: ServerGroup) -> Placed:
    there = session.scalars(_others(group.id, "").where(Server.host.is_not(None)))
    return Placed(group.policy, group.max_server_per_host or 1, Counter(map(str, there)))


def _others(group_id: str, server_id: str) -> Select[str | None]:
    return (
        select(Server.host)
        .join(ServerGroupMember, ServerGroupMember.server_id == Server.id)
        .where(
            ServerGroupMember.group_id == group_id,
            Server.id != server_id,
            Server.deleted_at.is_(None),
        )
    )
