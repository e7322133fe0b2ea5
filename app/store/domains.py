"""Domains."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.models import Domain


def listed(session: Session, name: str | None, enabled: bool | None) -> list[Domain]:
    """Domains by name; None is any."""
    query = select(Domain).order_by(Domain.name)
    if name is not None:
        query = query.where(Domain.name == name)
    if enabled is not None:
        query = query.where(Domain.enabled == enabled)
    return list(session.scalars(query))


def get(session: Session, domain_id: str) -> Domain:
    """One domain. Raises NotFound."""
    found = session.get(Domain, domain_id)
    if found is None:
        raise NotFound(f"Could not find domain: {domain_id[:64]}.")
    return found
