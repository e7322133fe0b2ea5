"""Which statuses an operation answers with: what its route declares, and what its kind implies."""

from __future__ import annotations

from typing import Any

from app.web.compute.actions import ANSWERS, ServerAction
from app.web.filters import SERVICES

_USUAL = {"get": (200,), "post": (200,), "put": (200,), "patch": (200,), "delete": (204,)}
_COMPUTE = (404, 406)
"""A microversion may not have the route, or not be there itself."""


def of(view: Any, method: str, path: str) -> set[int]:
    """Every status of an operation; `method` in lower case, `path` as Flask's rule has it."""
    return _own(view, method) | _refusals(view, method, path)


def _own(view: Any, method: str) -> set[int]:
    """What the route declares, a server action's being that of all actions."""
    if view is ServerAction:
        return {status for statuses in ANSWERS.values() for status in statuses}
    return set(view.answers.get(method, _USUAL[method]))


def _refusals(view: Any, method: str, path: str) -> set[int]:
    """The refusals of the kind: of the service, of what needs a token, of what takes a body."""
    service = path.split("/")[1]
    doc = getattr(getattr(view, method), "__apidoc__", {})
    has_body = "expect" in doc or "consumes" in doc
    found = {400, 413, 503}  # an address that no one could have, too much, no database
    if service not in SERVICES:
        return found | ({401, 403} if path == "/metrics" else set())
    if not is_public(view, method):
        found |= {401, 403}
    elif method == "post":
        found.add(401)  # what its body shows instead of a token
    if service == "compute":
        found |= set(_COMPUTE)
    if "<" in path or has_body:
        found.add(404)
    if method != "get":
        found.add(409)
    if has_body:
        found.add(415)
    if method == "post" and not view.keyless:
        found.add(422)
    return found


def is_public(view: Any, method: str) -> bool:
    """Whether the operation needs no token."""
    return bool(view.public or method.upper() in view.public_methods)
