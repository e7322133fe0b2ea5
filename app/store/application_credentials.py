"""Application credentials: what a program logs in with instead of its user's password."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import Conflict, NotFound
from app.models import ApplicationCredential, Role
from app.store import identity, projects, revocations, users
from app.store.database import clock


def listed(session: Session, user_id: str, name: str | None) -> list[ApplicationCredential]:
    """The user's, or the one of this name, by name."""
    query = select(ApplicationCredential).where(ApplicationCredential.user_id == user_id)
    if name is not None:
        query = query.where(ApplicationCredential.name == name)
    return list(session.scalars(query.order_by(ApplicationCredential.name)))


def get(session: Session, user_id: str, credential_id: str) -> ApplicationCredential:
    """One of the user's. Raises NotFound."""
    found = session.get(ApplicationCredential, credential_id)
    if found is None or found.user_id != user_id:
        raise NotFound(f"Could not find Application Credential: {credential_id[:64]}.")
    return found


def find(session: Session, credential_id: str) -> ApplicationCredential | None:
    """Anybody's, by id."""
    return session.get(ApplicationCredential, credential_id)


def add(session: Session, made: ApplicationCredential) -> None:
    """Keep a new one. Raises Conflict for a name that the user's have; NotFound when the user or
    the project has gone meanwhile.
    """
    users.get(session, made.user_id, lock=True)
    projects.get(session, made.project_id, lock=True)
    if listed(session, made.user_id, made.name):
        raise Conflict("Conflict occurred attempting to store application_credential - name taken.")
    session.add(made)


def remove(session: Session, user_id: str, credential_id: str) -> None:
    """Remove one of the user's; tokens that it got become void. Raises NotFound."""
    session.delete(get(session, user_id, credential_id))
    revocations.revoke(session, "application_credential", credential_id)


def is_over(session: Session, found: ApplicationCredential) -> bool:
    """Whether it has expired."""
    return found.expires_at is not None and found.expires_at <= clock(session)


def roles(session: Session, found: ApplicationCredential) -> list[tuple[str, str]]:
    """Ids and names of the roles that it gives now: none once its user has lost any of them."""
    held = identity.roles_on(session, found.user_id, found.project_id)
    if not set(found.roles) <= {role_id for role_id, _ in held}:
        return []
    return identity.with_implied(session, (name for id_, name in held if id_ in found.roles))


def role_names(session: Session, found: Iterable[ApplicationCredential]) -> dict[str, str]:
    """The names of all roles of these, by id."""
    ids = {role_id for one in found for role_id in one.roles}
    rows = session.execute(select(Role.id, Role.name).where(Role.id.in_(ids)))
    return {row.id: row.name for row in rows}
