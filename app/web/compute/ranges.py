"""What exists only in some microversions: routes, and query parameters."""

from __future__ import annotations

from flask import request

from app.errors import Invalid, NotFound
from app.web import context

Version = tuple[int, int]
STRICT = (2, 75)
"""From this version on, Nova refuses query parameters that it does not know."""


def routed(since: Version | None = None, until: Version | None = None) -> None:
    """Raises NotFound unless the request's version is from `since` to before `until`."""
    version = context.version()
    if (since is not None and version < since) or (until is not None and version >= until):
        raise NotFound("The resource could not be found.")


def known_parameters(*names: str, since: Version = STRICT) -> None:
    """Raises Invalid, from the version `since` on, for query parameters other than `names`."""
    if context.version() < since:
        return
    unknown = sorted(set(request.args) - set(names))
    if unknown:
        shown = ", ".join(name[:64] for name in unknown[:5])
        raise Invalid(
            f"Invalid input for query parameters: unknown: {shown}; known: "
            f"{', '.join(sorted(names)) or 'none'}"
        )
