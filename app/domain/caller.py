"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """The authenticated user, the project it acts for, its roles there, and the request's id.

    `is_system`: the token is scoped to the whole cloud and to no project.
    """

    user_id: str
    project_id: str
    roles: frozenset[str]
    request_id: str
    user_name: str = ""
    project_name: str = ""
    is_system: bool = False

    @property
    def is_admin(self) -> bool:
        """Whether the admin role was given."""
        return "admin" in self.roles
