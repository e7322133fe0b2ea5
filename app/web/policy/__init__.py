"""Who may do what: oslo.policy with Nova's, Keystone's, Glance's and Neutron's rule names.

Every route names its rule in `Route.policy`; `filters` enforces it before the handler runs, with
the caller's own project and user as the target, for nobody knows yet whose the thing is. Store
functions that load what a request's path names tell its owner (`Caller.hold`), and what was
required is then asked again about that. Handlers ask `require` or `allows` about what depends on
the request's content, and their routes name those rules in `Route.asks`.
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
    """Raises Forbidden, in the words of the path's service, unless `allows`.

    Without a target it holds for what the request's path names, too, whenever that is loaded.
    """
    _refuse_unless(allows(rule, **target), rule)
    if not target:
        _required()[rule] = None
        for thing in _held().values():
            _refuse_unless(_judged(rule, thing), rule)


def hold(thing_id: str, project_id: str, user_id: str | None) -> None:
    """Ask again all that was required, about a thing whose owner is now known.

    Only about what the path names: what else a request uses, such as a network that others share,
    is no more than visible. Raises Forbidden.
    """
    if thing_id not in (request.view_args or {}).values():
        return
    caller = context.caller()
    thing = {"project_id": project_id, "user_id": user_id or caller.user_id}
    own = {"project_id": caller.project_id, "user_id": caller.user_id}
    if _held().get(thing_id, own) == thing:
        return
    for rule in _required():
        _refuse_unless(_judged(rule, thing), rule)
    _held()[thing_id] = thing


def _refuse_unless(allowed: bool, rule: str) -> None:
    if not allowed:
        raise Forbidden(_WORDS.get(context.service(), _NOVA).format(rule=rule))


def _required() -> dict[str, None]:
    """The rules that this request had to meet so far, in order."""
    return cast(dict[str, None], g.setdefault("required", {}))


def _held() -> dict[str, dict[str, str]]:
    """The things, by id, that it had to meet them about, but for the caller's own."""
    return cast(dict[str, dict[str, str]], g.setdefault("held", {}))


def enforce(view: Any) -> None:
    """Hold the request against the rules of its route and method."""
    if request.method == "OPTIONS":
        return  # tells the methods, and nothing of what is there
    method = "get" if request.method == "HEAD" else request.method.lower()
    rule = getattr(view, "policy", {}).get(method)
    if rule is None:
        raise Bug(f"no policy rule for {request.method} {request.url_rule}")
    if rule != INSIDE:
        require(rule)
    for besides in getattr(view, "needs", {}).get(method, ()):
        require(besides)


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
