"""Projects as Compute names them: tenants."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.errors import Invalid
from app.models import Project


def check(session: Session, project_id: str) -> None:
    """Raises Invalid unless there is such a project."""
    if session.get(Project, project_id) is None:
        raise Invalid(f"Project ID {project_id} is not a valid project.")
