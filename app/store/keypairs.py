"""Public keys of users."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.errors import Conflict, Invalid, NotFound, OverQuota
from app.models import Keypair, User
from app.store import quotas
from app.store.paging import Page, page_of


def page(session: Session, user_id: str, wanted: Page) -> list[Keypair]:
    """The user's keys by name. Raises Invalid for a bad marker."""
    query = select(Keypair).where(Keypair.user_id == user_id)
    marker = None
    if wanted.marker is not None:
        marker = session.get(Keypair, (user_id, wanted.marker))
        if marker is None:
            raise Invalid(f"marker [{wanted.marker}] not found")
    return list(session.scalars(page_of(query, wanted, Keypair.name, Keypair.name, marker)))


def get(session: Session, user_id: str, name: str) -> Keypair:
    """One key of the user, else NotFound."""
    found = session.get(Keypair, (user_id, name))
    if found is None:
        raise NotFound(f"Keypair {name} not found for user {user_id}")
    return found


def add(session: Session, caller: Caller, keypair: Keypair) -> None:
    """Keep a new key.

    Raises Conflict when the name is taken, OverQuota when there are too many, Invalid for an
    unknown user.
    """
    # Locked: keys are counted, so they are added one by one.
    owner = session.scalar(select(User.id).where(User.id == keypair.user_id).with_for_update())
    if owner is None:
        raise Invalid("Invalid input for field keypair.user_id: no such user")
    if session.get(Keypair, (keypair.user_id, keypair.name)) is not None:
        raise Conflict(f"Key pair '{keypair.name}' already exists.")
    count = select(func.count()).select_from(Keypair).where(Keypair.user_id == keypair.user_id)
    limit = quotas.limits(session, caller.project_id)["key_pairs"]
    if 0 <= limit <= (session.scalar(count) or 0):
        raise OverQuota(f"Quota exceeded, too many key pairs: {limit} are allowed")
    session.add(keypair)
    session.flush()


def remove(session: Session, user_id: str, name: str) -> None:
    """Forget a key; servers keep their copies. Raises NotFound."""
    session.delete(get(session, user_id, name))
