"""Which projects may use a flavor that is not public."""

from __future__ import annotations

from sqlalchemy import delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.errors import Conflict, NotFound
from app.models import Flavor, FlavorAccess
from app.store.database import changed


def projects(session: Session, flavor: Flavor) -> list[str]:
    """The ids of projects that were given access, in order. Raises NotFound for a public flavor."""
    if flavor.is_public:
        raise NotFound("Access list not available for public flavors.")
    return granted(session, flavor)


def granted(session: Session, flavor: Flavor) -> list[str]:
    """The ids of projects that were given access, in order."""
    query = select(FlavorAccess.project_id).where(FlavorAccess.flavor_id == flavor.id)
    return list(session.scalars(query.order_by(FlavorAccess.project_id)))


def add(session: Session, flavor: Flavor, project_id: str) -> None:
    """Let a project use the flavor. Raises Conflict when it may already."""
    already = Conflict(
        f"Flavor access already exists for flavor {flavor.id} and project {project_id} combination."
    )
    if session.get(FlavorAccess, (flavor.id, project_id)) is not None:
        raise already
    session.add(FlavorAccess(flavor_id=flavor.id, project_id=project_id))
    try:
        session.flush()
    except IntegrityError as error:
        raise already from error


def remove(session: Session, flavor: Flavor, project_id: str) -> None:
    """Take a project's access away. Raises NotFound when it had none."""
    gone = delete(FlavorAccess).where(
        FlavorAccess.flavor_id == flavor.id, FlavorAccess.project_id == project_id
    )
    if changed(session, gone) == 0:
        raise NotFound(f"Flavor access not found for {flavor.id} / {project_id} combination.")
