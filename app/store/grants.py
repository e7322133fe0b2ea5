"""Who has which role where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session, aliased

from app.errors import NotFound
from app.models import Domain, Project, Role, RoleAssignment, User
from app.store import administrators, projects, revocations, roles, users
from app.store.identity import IMPLIED


@dataclass(frozen=True)
class Where:
    """A project, or the whole cloud when there is no project's id."""

    project_id: str | None = None

    @property
    def scope(self) -> str:
        """The kind of target that assignments keep."""
        return "system" if self.project_id is None else "project"

    @property
    def target_id(self) -> str:
        """The target that assignments keep."""
        return self.project_id or "all"


@dataclass(frozen=True)
class GrantQuery:
    """What a listing asks for; None is any. `effective` adds what roles imply."""

    user_id: str | None = None
    role_id: str | None = None
    where: Where | None = None
    effective: bool = False


@dataclass(frozen=True)
class Grant:
    """One assignment with all that it names; `project` is None for the whole cloud."""

    role: Role
    user: User
    user_domain: Domain
    project: Project | None
    project_domain: Domain | None


_Row = tuple[Role, User, Domain, Project | None, Domain | None]


def add(session: Session, where: Where, user_id: str, role_id: str) -> None:
    """Give a user a role; once more changes nothing. Raises NotFound for what is not there."""
    _lock(session, where, user_id)
    roles.get(session, role_id, lock=True)
    if session.get(RoleAssignment, (user_id, role_id, where.scope, where.target_id)) is None:
        session.add(
            RoleAssignment(
                user_id=user_id, role_id=role_id, scope=where.scope, target_id=where.target_id
            )
        )


def check(session: Session, where: Where, user_id: str, role_id: str) -> None:
    """Raise NotFound unless the user was given the role."""
    _existing(session, where, user_id)
    roles.get(session, role_id)
    _one(session, where, user_id, role_id)


def remove(session: Session, where: Where, user_id: str, role_id: str) -> None:
    """Take a role away; the user's tokens there become void.

    Raises NotFound, and Conflict when no administrator would be left.
    """
    _lock(session, where, user_id)
    roles.get(session, role_id)
    session.delete(_one(session, where, user_id, role_id))
    revocations.revoke_grant(session, user_id, where.project_id or revocations.SYSTEM)
    administrators.require_one(session)


def given(session: Session, where: Where, user_id: str) -> list[Role]:
    """The roles that a user was given, without those that they imply. Raises NotFound."""
    _existing(session, where, user_id)
    query = (
        select(Role)
        .join(RoleAssignment, RoleAssignment.role_id == Role.id)
        .where(
            RoleAssignment.user_id == user_id,
            RoleAssignment.scope == where.scope,
            RoleAssignment.target_id == where.target_id,
        )
    )
    return list(session.scalars(query.order_by(Role.name)))


def listed(session: Session, wanted: GrantQuery) -> list[Grant]:
    """Assignments by user, place and role."""
    every = {role.name: role for role in roles.listed(session, None)}
    found = {
        (user.id, place.id if place else "", name): Grant(
            every[name], user, domain, place, place_domain
        )
        for role, user, domain, place, place_domain in _rows(session, wanted)
        for name in _meant(role.name, wanted.effective)
        if name in every and wanted.role_id in (None, every[name].id)
    }
    return [found[key] for key in sorted(found)]


def _rows(session: Session, wanted: GrantQuery) -> Iterable[_Row]:
    home, there = aliased(Domain), aliased(Domain)
    on_project = and_(RoleAssignment.scope == "project", Project.id == RoleAssignment.target_id)
    query = (
        select(Role, User, home, Project, there)
        .join_from(RoleAssignment, Role, Role.id == RoleAssignment.role_id)
        .join(User, User.id == RoleAssignment.user_id)
        .join(home, home.id == User.domain_id)
        .outerjoin(Project, on_project)
        .outerjoin(there, there.id == Project.domain_id)
        .where(or_(Project.id.is_not(None), RoleAssignment.scope == "system"))
    )
    if wanted.user_id is not None:
        query = query.where(RoleAssignment.user_id == wanted.user_id)
    if wanted.where is not None:
        query = query.where(
            RoleAssignment.scope == wanted.where.scope,
            RoleAssignment.target_id == wanted.where.target_id,
        )
    return session.execute(query)


def _meant(role: str, effective: bool) -> tuple[str, ...]:
    return (role, *IMPLIED.get(role, ())) if effective else (role,)


def _lock(session: Session, where: Where, user_id: str) -> None:
    users.get(session, user_id, lock=True)
    if where.project_id is not None:
        projects.get(session, where.project_id, lock=True)


def _existing(session: Session, where: Where, user_id: str) -> None:
    users.get(session, user_id)
    if where.project_id is not None:
        projects.get(session, where.project_id)


def _one(session: Session, where: Where, user_id: str, role_id: str) -> RoleAssignment:
    found = session.get(RoleAssignment, (user_id, role_id, where.scope, where.target_id))
    if found is None:
        raise NotFound(f"Could not find role assignment with role: {role_id[:64]}.")
    return found
