"""Routes that a microversion took away."""

from __future__ import annotations

from app.errors import NotFound
from app.web import context

PROXIES = (2, 35)
"""The last version in which Compute speaks for Network."""
ADDRESSES = (2, 43)
"""The last one with the actions about addresses."""


def until(version: tuple[int, int]) -> None:
    """Raises NotFound when the request is of a later version than the route."""
    if context.version() > version:
        raise NotFound("The resource could not be found.")
