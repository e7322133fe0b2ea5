"""Projects: list, make, change, remove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid, NotFound
from app.models import (
    ApplicationCredential,
    FlavorAccess,
    FloatingIp,
    Image,
    ImageMember,
    Network,
    Port,
    PortGroup,
    Project,
    Quota,
    QuotaUsage,
    RoleAssignment,
    Router,
    SecurityGroup,
    SecurityRule,
    Server,
    ServerGroup,
    User,
    UserQuota,
)
from app.store import administrators, quotas, revocations
from app.store.identity import flush, locked
from app.store.paging import Page, page_of


@dataclass(frozen=True)
class ProjectQuery:
    """What a listing asks for; None is any. `user_id`: only those on which the user has a role."""

    name: str | None = None
    domain_id: str | None = None
    enabled: bool | None = None
    user_id: str | None = None
    page: Page = Page()


def listed(session: Session, wanted: ProjectQuery) -> list[Project]:
    """Projects by name. Raises Invalid for a bad marker."""
    query = select(Project)
    for column, value in (
        (Project.name, wanted.name),
        (Project.domain_id, wanted.domain_id),
        (Project.enabled, wanted.enabled),
    ):
        if value is not None:
            query = query.where(column == value)
    if wanted.user_id is not None:
        theirs = select(RoleAssignment.target_id).where(
            RoleAssignment.user_id == wanted.user_id, RoleAssignment.scope == "project"
        )
        query = query.where(Project.id.in_(theirs))
    marker = None
    if wanted.page.marker is not None:
        marker = session.scalars(query.where(Project.id == wanted.page.marker)).first()
        if marker is None:
            raise Invalid("Invalid input for query parameter marker: no such project")
    return list(session.scalars(page_of(query, wanted.page, Project.name, Project.id, marker)))


def get(session: Session, project_id: str, *, lock: bool = False) -> Project:
    """One project; `lock`: nobody else changes it before this transaction ends. Raises NotFound."""
    found = locked(session, Project, project_id) if lock else session.get(Project, project_id)
    if found is None:
        raise NotFound(f"Could not find project: {project_id[:64]}.")
    return found


def add(session: Session, project: Project) -> None:
    """Keep a new project. Raises Conflict when its domain has one of this name."""
    session.add(project)
    flush(session, _TAKEN)


def change(session: Session, project_id: str, values: Mapping[str, Any]) -> Project:
    """Set columns; a disabled project's tokens become void. Raises NotFound, Conflict."""
    project = get(session, project_id, lock=True)
    for name, value in values.items():
        setattr(project, name, value)
    flush(session, _TAKEN)
    if values.get("enabled") is False:
        revocations.revoke(session, "project", project_id)
    return project


def remove(session: Session, project_id: str) -> None:
    """Remove a project, its assignments, credentials, server groups, quotas and what images were
    offered to it; its tokens become void.

    Raises NotFound, and Conflict while it owns servers, images or networks.
    """
    # Users before projects, as everywhere: these rows change below.
    at_home = select(User.id).where(User.default_project_id == project_id)
    session.execute(at_home.order_by(User.id).with_for_update())
    project = get(session, project_id, lock=True)
    theirs = select(ServerGroup.id).where(ServerGroup.project_id == project_id)
    session.execute(theirs.order_by(ServerGroup.id).with_for_update())  # groups before quotas
    # No create goes on meanwhile.
    quotas.held(session, project_id, (*quotas.COUNTED, quotas.GROUPS))
    if owned := _owned(session, project_id):
        raise Conflict(f"The project still has {owned}: delete them first.")
    session.execute(
        delete(RoleAssignment).where(
            RoleAssignment.scope == "project", RoleAssignment.target_id == project_id
        )
    )
    kinds = (
        ApplicationCredential,
        ServerGroup,
        Quota,
        UserQuota,
        QuotaUsage,
        FlavorAccess,
        ImageMember,
        SecurityRule,
        SecurityGroup,
    )
    # What a deleted server has on a host that is away: its ports stay until the host let go.
    groups = select(SecurityGroup.id).where(SecurityGroup.project_id == project_id)
    session.execute(delete(PortGroup).where(PortGroup.group_id.in_(groups)))
    for kind in kinds:
        session.execute(delete(kind).where(kind.project_id == project_id))
    session.execute(
        update(User).where(User.default_project_id == project_id).values(default_project_id=None)
    )
    revocations.revoke(session, "project", project_id)
    session.delete(project)
    administrators.require_one(session)


def _owned(session: Session, project_id: str) -> str:
    counts = {
        "server": (Server.project_id == project_id) & Server.deleted_at.is_(None),
        "image": (Image.owner == project_id) & (Image.status != "deleted"),
        "network": Network.project_id == project_id,
        "router": Router.project_id == project_id,
        "port": (Port.project_id == project_id) & ~Port.own,
        "floating address": FloatingIp.project_id == project_id,
    }
    found = []
    for name, where in counts.items():
        count = session.scalar(select(func.count()).where(where)) or 0
        if count:
            several = "es" if name.endswith("s") else "s"
            found.append(f"{count} {name}{'' if count == 1 else several}")
    return " and ".join(found)


_TAKEN = "Conflict occurred attempting to store project - the domain has one of this name."
