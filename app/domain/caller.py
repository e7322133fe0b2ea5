"""Who asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

Holding = Callable[[str, str, str | None], None]
"""Of a thing's id, project and user: raises Forbidden where the policy keeps the caller off it."""


@dataclass(frozen=True)
class Caller:
    """The authenticated user, the project it acts for, its roles there, and the request's id.

    `is_system`: the token is scoped to the whole cloud and to no project. `administers`: what the
    policy's rule `context_is_admin` says of it; None where no policy was asked. `holding` asks
    the rules of its request about one thing more.
    """

    user_id: str
    project_id: str
    roles: frozenset[str]
    request_id: str
    user_name: str = ""
    project_name: str = ""
    is_system: bool = False
    administers: bool | None = None
    holding: Holding | None = field(default=None, compare=False, repr=False)

    @property
    def is_admin(self) -> bool:
        """Whether it is an administrator: by the policy, or else by the role."""
        return "admin" in self.roles if self.administers is None else self.administers

    def hold(self, thing_id: str, project_id: str, user_id: str | None = None) -> None:
        """Ask the request's rules about a thing that was loaded, now that its owner is known.

        Raises Forbidden. What others share with the caller's project counts as its own.
        """
        if self.holding is not None:
            self.holding(thing_id, project_id if self.is_admin else self.project_id, user_id)
