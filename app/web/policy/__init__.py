"""Who may do what: oslo.policy with Nova's, Keystone's, Glance's and Neutron's rule names.

Every route names its rule in `Route.policy`; `filters` enforces it before the handler runs, with
the caller's own project as the target, because whatever is another project's is 404 anyway.
Handlers ask `require` or `allows` about what depends on the request's content, and their routes
name those rules in `Route.asks`.
"""

from __future__ import annotations

from typing import Any, cast

from flask import g, request

from app.domain.caller import Caller
from app.errors import Bug, Forbidden
from app.web import context
from app.web.policy import base, compute, identity, image, network, novella

INSIDE = "decided inside"
"""For a route whose handler itself calls `require`."""
IS_ADMIN = "context_is_admin"
"""Who sees and changes what is other projects', locked or withheld."""

RULES = {
    **base.RULES,
    **compute.RULES,
    **identity.RULES,
    **image.RULES,
    **network.RULES,
    **novella.RULES,
}
"""Every rule with its default; those of other packages come with `app.web.extending`."""


def is_admin(caller: Caller) -> bool:
    """Whether the rules make an administrator of the caller."""
    about = {"project_id": caller.project_id or None, "user_id": caller.user_id}
    return context.web().judge.allows(IS_ADMIN, about, credentials(caller))


def allows(rule: str, **target: Any) -> bool:
    """Whether the caller may do what `rule` guards; the target is its own project's unless given.

    Raises Bug for a rule that nobody registered.
    """
    if target:
        return _judged(rule, target)
    told = cast(dict[str, bool], g.setdefault("allowed", {}))  # views ask for each of many rows
    if rule not in told:
        told[rule] = _judged(rule, target)
    return told[rule]


def _judged(rule: str, target: dict[str, Any]) -> bool:
    caller = context.caller()
    about = {"project_id": caller.project_id or None, "user_id": caller.user_id, **target}
    about["tenant_id"] = about["project_id"]
    return context.web().judge.allows(rule, about, credentials(caller))


def require(rule: str, **target: Any) -> None:
    """Raises Forbidden, in the words of the path's service, unless `allows`."""
    if not allows(rule, **target):
        raise Forbidden(_WORDS.get(context.service(), _NOVA).format(rule=rule))


def enforce(view: Any) -> None:
    """Hold the request against the rule of its route and method."""
    if request.method == "OPTIONS":
        return  # tells the methods, and nothing of what is there
    method = "get" if request.method == "HEAD" else request.method.lower()
    rule = getattr(view, "policy", {}).get(method)
    if rule is None:
        raise Bug(f"no policy rule for {request.method} {request.url_rule}")
    if rule != INSIDE:
        require(rule)


def credentials(caller: Caller) -> dict[str, Any]:
    """What checks compare: `overrides.CREDENTIALS` and the roles."""
    return {
        "user_id": caller.user_id,
        "project_id": caller.project_id or None,
        "tenant_id": caller.project_id or None,
        "roles": sorted(caller.roles),
        "system_scope": "all" if caller.is_system else None,
        "is_admin": caller.is_admin,
    }


_NOVA = "Policy doesn't allow {rule} to be performed."
_WORDS = {
    "identity": "You are not authorized to perform the requested action: {rule}.",
    "image": "You are not authorized to complete {rule} action.",
    "network": "({rule}) is disallowed by policy",
}
