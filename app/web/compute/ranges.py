"""What exists only in some microversions: query parameters, and the proxies of other services."""

from __future__ import annotations

from typing import Any

from flask import request

from app.errors import Invalid
from app.web import context

Version = tuple[int, int]
PROXIES = (2, 36)
"""From this version on, Compute does not speak for Network."""
ADDRESSES = (2, 43)
"""The last one with the actions about addresses: a registered action's `until` is its last."""
STRICT = (2, 75)
"""From this version on, Nova refuses query parameters that it does not know, in most lists."""
STRICT_EVERYWHERE = (2, 102)


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


def refuse_queries(view: Any) -> None:
    """Raises Invalid, from 2.102 on, for any parameter of a route that documents none.

    Those that document some see to it themselves, by `known_parameters`.
    """
    if context.version() < STRICT_EVERYWHERE or not request.args or view is None:
        return
    method = getattr(view, request.method.lower(), None)
    params = getattr(method, "__apidoc__", {}).get("params", {})
    if method is not None and all(_is_header(one) for one in params.values()):
        known_parameters()


def _is_header(documented: Any) -> bool:
    return isinstance(documented, dict) and documented.get("in") == "header"
