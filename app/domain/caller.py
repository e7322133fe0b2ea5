"""Who asks."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Caller:
    """The authenticated user, the project it acts for, its roles there, and the request's id.

    `is_system`: the token is scoped to the whole cloud and to no project. `administers`: what the
    policy's rule `context_is_admin` says of it; None where no policy was asked.
    """

    user_id: str
    project_id: str
    roles: frozenset[str]
    request_id: str
    user_name: str = ""
    project_name: str = ""
    is_system: bool = False
    administers: bool | None = None

    @property
    def is_admin(self) -> bool:
        """Whether it is an administrator: by the policy, or else by the role."""
        return "admin" in self.roles if self.administers is None else self.administers
