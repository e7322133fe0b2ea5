"""Users: list, make, change, remove."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid, NotFound
from app.models import (
    ApplicationCredential,
    Keypair,
    Project,
    RoleAssignment,
    User,
    UserQuota,
)
from app.store import administrators, revocations
from app.store.identity import flush, locked
from app.store.paging import Page, page_of


@dataclass(frozen=True)
class UserQuery:
    """What a listing asks for; None is any."""

    name: str | None = None
    domain_id: str | None = None
    enabled: bool | None = None
    page: Page = Page()


def listed(session: Session, wanted: UserQuery) -> list[User]:
    """Users by name. Raises Invalid for a bad marker."""
    query = select(User)
    for column, value in (
        (User.name, wanted.name),
        (User.domain_id, wanted.domain_id),
        (User.enabled, wanted.enabled),
    ):
        if value is not None:
            query = query.where(column == value)
    marker = None
    if wanted.page.marker is not None:
        marker = session.get(User, wanted.page.marker)
        if marker is None:
            raise Invalid("Invalid input for query parameter marker: no such user")
    return list(session.scalars(page_of(query, wanted.page, User.name, User.id, marker)))


def get(session: Session, user_id: str, *, lock: bool = False) -> User:
    """One user; `lock`: nobody else changes it before this transaction ends. Raises NotFound."""
    found = locked(session, User, user_id) if lock else session.get(User, user_id)
    if found is None:
        raise NotFound(f"Could not find user: {user_id[:64]}.")
    return found


def add(session: Session, user: User) -> None:
    """Keep a new user. Raises Conflict for a name that is taken, Invalid for a bad project."""
    _check_default(session, user.default_project_id)
    session.add(user)
    flush(session, _TAKEN)


def change(session: Session, user_id: str, values: Mapping[str, Any]) -> User:
    """Set columns; a new password or an end of `enabled` voids the user's tokens.

    Raises NotFound, Invalid for a bad project, Conflict for a name that is taken or when no
    administrator would be left.
    """
    user = get(session, user_id, lock=True)
    _check_default(session, values.get("default_project_id"))
    for name, value in values.items():
        setattr(user, name, value)
    flush(session, _TAKEN)
    if "password_hash" in values or values.get("enabled") is False:
        revocations.revoke(session, "user", user_id)
    if values.get("enabled") is False:
        administrators.require_one(session)
    return user


def change_password(session: Session, user_id: str, known: str, wanted: str) -> None:
    """From one hash to another; the user's tokens become void.

    Raises Conflict when the password is no longer the known one.
    """
    user = get(session, user_id, lock=True)
    if user.password_hash != known:
        raise Conflict("The password was changed by another request meanwhile.")
    change(session, user_id, {"password_hash": wanted})


def remove(session: Session, user_id: str) -> None:
    """Remove a user, with assignments, credentials and keys; what projects own stays.

    Raises NotFound, and Conflict when no administrator would be left.
    """
    user = get(session, user_id, lock=True)
    for kind in (RoleAssignment, ApplicationCredential, Keypair, UserQuota):
        session.execute(delete(kind).where(kind.user_id == user_id))
    revocations.revoke(session, "user", user_id)
    session.delete(user)
    administrators.require_one(session)


def _check_default(session: Session, project_id: str | None) -> None:
    if project_id is not None and session.get(Project, project_id) is None:
        raise Invalid("Invalid input for field user.default_project_id: no such project")


_TAKEN = "Conflict occurred attempting to store user - the domain has one of this name."
