"""Roles: the five that policies speak of, and operators' own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.errors import Forbidden, NotFound
from app.models import Role, RoleAssignment, User
from app.store import revocations
from app.store.identity import flush, locked
from app.store.seed import ROLES as BUILT_IN


def listed(session: Session, name: str | None) -> list[Role]:
    """All roles, or the one of this name, by name."""
    query = select(Role).order_by(Role.name)
    return list(session.scalars(query if name is None else query.where(Role.name == name)))


def get(session: Session, role_id: str, *, lock: bool = False) -> Role:
    """One role; `lock`: nobody else changes it before this transaction ends. Raises NotFound."""
    found = locked(session, Role, role_id) if lock else session.get(Role, role_id)
    if found is None:
        raise NotFound(f"Could not find role: {role_id[:64]}.")
    return found


def add(session: Session, role: Role) -> None:
    """Keep a new role. Raises Conflict when there is one of this name."""
    session.add(role)
    flush(session, _TAKEN)


def change(session: Session, role_id: str, values: Mapping[str, Any]) -> Role:
    """Set columns. Raises NotFound, Conflict, and Forbidden for the name of a built-in one."""
    role = get(session, role_id, lock=True)
    if values.get("name", role.name) != role.name:
        _refuse_built_in(role, "renamed")
    for name, value in values.items():
        setattr(role, name, value)
    flush(session, _TAKEN)
    return role


def remove(session: Session, role_id: str) -> None:
    """Remove a role from everybody; tokens that it helped to get become void.

    Raises NotFound, and Forbidden for a built-in role.
    """
    given = select(RoleAssignment).where(RoleAssignment.role_id == role_id)
    users = {row.user_id for row in session.scalars(given)}
    session.execute(select(User.id).where(User.id.in_(users)).order_by(User.id).with_for_update())
    role = get(session, role_id, lock=True)
    _refuse_built_in(role, "deleted")
    for row in session.scalars(given):
        target = row.target_id if row.scope == "project" else revocations.SYSTEM
        revocations.revoke_grant(session, row.user_id, target)
    session.execute(delete(RoleAssignment).where(RoleAssignment.role_id == role_id))
    session.delete(role)


def _refuse_built_in(role: Role, verb: str) -> None:
    if role.name in BUILT_IN:
        raise Forbidden(f"The role {role.name} is built in and cannot be {verb}.")


_TAKEN = "Conflict occurred attempting to store role - there is one of this name."
