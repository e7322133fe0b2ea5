"""Who a name or an id means, what roles they have where, and passwords."""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import ColumnElement, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import Conflict, Unavailable
from app.models import ApplicationCredential, Domain, Project, Role, RoleAssignment, User

Row = TypeVar("Row", User, Project, Role, ApplicationCredential)

# Each hash takes 19 MiB and some 20 ms: what OWASP asks for, and no more hashes at once than
# this, or a burst of logins would take all memory.
_HASHER = PasswordHasher(time_cost=2, memory_cost=19456, parallelism=1)
_HASHES_AT_ONCE = threading.BoundedSemaphore(4)
_HASH_WAIT = 20.0

IMPLIED = {
    "admin": ("manager", "member", "reader"),
    "manager": ("member", "reader"),
    "member": ("reader",),
}


def hash_password(text: str) -> str:
    """The argon2id hash of a password, with its own salt and parameters inside.

    Raises Unavailable when too many are being made or checked.
    """
    with _turn():
        return _HASHER.hash(text)


def password_matches(stored: str | None, text: str) -> bool:
    """Whether `text` is the password; takes as long without a stored hash as with one.

    Raises Unavailable when too many are being made or checked.
    """
    with _turn():
        try:
            return _HASHER.verify(stored or _dummy(), text) and stored is not None
        except (VerificationError, InvalidHashError):
            return False


@contextmanager
def _turn() -> Iterator[None]:
    if not _HASHES_AT_ONCE.acquire(timeout=_HASH_WAIT):
        raise Unavailable("too many logins at once; try again")
    try:
        yield
    finally:
        _HASHES_AT_ONCE.release()


@functools.cache
def _dummy() -> str:
    return _HASHER.hash("nobody's password")


@dataclass(frozen=True)
class Ref:
    """Something named by id, or by name inside a domain, which is named by id or name too."""

    id: str | None = None
    name: str | None = None
    domain_id: str | None = None
    domain_name: str | None = None


def find_domain(session: Session, domain_id: str | None, name: str | None) -> Domain | None:
    """An enabled domain by id or name."""
    where = Domain.id == domain_id if domain_id is not None else Domain.name == name
    return session.scalars(select(Domain).where(where, Domain.enabled)).first()


def find_user(session: Session, wanted: Ref) -> tuple[User, Domain] | None:
    """An enabled user of an enabled domain."""
    query = select(User, Domain).join(Domain, Domain.id == User.domain_id)
    query = query.where(User.enabled, Domain.enabled)
    if wanted.id is not None:
        query = query.where(User.id == wanted.id)
    else:
        query = query.where(User.name == wanted.name, _domain_is(wanted))
    row = session.execute(query).first()
    return None if row is None else (row[0], row[1])


def find_project(session: Session, wanted: Ref) -> tuple[Project, Domain] | None:
    """An enabled project of an enabled domain."""
    query = select(Project, Domain).join(Domain, Domain.id == Project.domain_id)
    query = query.where(Project.enabled, Domain.enabled)
    if wanted.id is not None:
        query = query.where(Project.id == wanted.id)
    else:
        query = query.where(Project.name == wanted.name, _domain_is(wanted))
    row = session.execute(query).first()
    return None if row is None else (row[0], row[1])


def _domain_is(wanted: Ref) -> ColumnElement[bool]:
    if wanted.domain_id is not None:
        return Domain.id == wanted.domain_id
    return Domain.name == wanted.domain_name


def roles_on(session: Session, user_id: str, project_id: str) -> list[tuple[str, str]]:
    """Ids and names of the user's roles on the project, those that they imply included."""
    return _effective(session, user_id, "project", project_id)


def system_roles(session: Session, user_id: str) -> list[tuple[str, str]]:
    """Ids and names of the user's roles on the whole cloud, those that they imply included."""
    return _effective(session, user_id, "system", "all")


def _effective(session: Session, user_id: str, scope: str, target: str) -> list[tuple[str, str]]:
    query = (
        select(Role.name)
        .join(RoleAssignment, RoleAssignment.role_id == Role.id)
        .where(
            RoleAssignment.user_id == user_id,
            RoleAssignment.scope == scope,
            RoleAssignment.target_id == target,
        )
    )
    return with_implied(session, list(session.scalars(query)))


def with_implied(session: Session, names: Iterable[str]) -> list[tuple[str, str]]:
    """Ids and names of these roles and of what they imply, by name."""
    every = set(names)
    for name in list(every):
        every.update(IMPLIED.get(name, ()))
    if not every:
        return []
    rows = session.execute(select(Role.id, Role.name).where(Role.name.in_(every)))
    return sorted(((row.id, row.name) for row in rows), key=lambda role: role[1])


def projects_of(session: Session, user_id: str) -> list[Project]:
    """The enabled projects on which the user has a role, by name."""
    assigned = select(RoleAssignment.target_id).where(
        RoleAssignment.user_id == user_id, RoleAssignment.scope == "project"
    )
    query = select(Project).where(Project.enabled, Project.id.in_(assigned)).order_by(Project.name)
    return list(session.scalars(query))


def locked(session: Session, kind: type[Row], id_: str) -> Row | None:
    """A row as it is now, which nobody else changes before this transaction ends."""
    query = select(kind).where(kind.id == id_).with_for_update()
    return session.scalars(query.execution_options(populate_existing=True)).first()


def flush(session: Session, taken: str) -> None:
    """Write what is new. Raises Conflict with the message `taken` when a name is not free."""
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict(taken) from error
