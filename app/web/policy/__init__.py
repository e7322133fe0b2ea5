"""Who may do what: oslo.policy with Nova's, Keystone's, Glance's and Neutron's rule names.

Every route names its rule in `Route.policy`; `filters` enforces it before the handler runs, with
the caller's own project as the target, because whatever is another project's is 404 anyway.
Handlers ask `require` or `allows` about what depends on the request's content.
"""

from __future__ import annotations

from typing import Any

from flask import request
from oslo_config import cfg
from oslo_policy import policy as oslo_policy

from app.domain.caller import Caller
from app.errors import Bug, Forbidden
from app.web import context
from app.web.policy import compute, identity, image, network, novella

INSIDE = "decided inside"
"""For a route whose handler itself calls `require`."""

BASE = {
    "context_is_admin": "role:admin",
    "project_reader": "role:reader and project_id:%(project_id)s",
    "project_member": "role:member and project_id:%(project_id)s",
    "project_manager": "role:manager and project_id:%(project_id)s",
    "project_reader_or_admin": "rule:project_reader or rule:context_is_admin",
    "project_member_or_admin": "rule:project_member or rule:context_is_admin",
}
RULES = {
    **BASE,
    **compute.RULES,
    **identity.RULES,
    **image.RULES,
    **network.RULES,
    **novella.RULES,
}


def make_enforcer() -> oslo_policy.Enforcer:
    """An enforcer that knows all rules."""
    conf = cfg.ConfigOpts()
    conf([], default_config_files=[], default_config_dirs=[])
    enforcer = oslo_policy.Enforcer(conf, use_conf=False)
    enforcer.set_rules(oslo_policy.Rules.from_dict(RULES), use_conf=False)
    return enforcer


def allows(rule: str, **target: Any) -> bool:
    """Whether the caller may do what `rule` guards; the target is its own project's unless given.

    Raises Bug for a rule that nobody registered.
    """
    if rule not in RULES:
        raise Bug(f"no policy rule {rule}")
    caller = context.caller()
    about = {"project_id": caller.project_id or None, "user_id": caller.user_id, **target}
    return bool(context.web().enforcer.enforce(rule, about, _credentials(caller)))


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


def _credentials(caller: Caller) -> dict[str, Any]:
    return {
        "user_id": caller.user_id,
        "project_id": caller.project_id or None,
        "roles": sorted(caller.roles),
        "system_scope": "all" if caller.is_system else None,
    }


_NOVA = "Policy doesn't allow {rule} to be performed."
_WORDS = {
    "identity": "You are not authorized to perform the requested action: {rule}.",
    "image": "You are not authorized to complete {rule} action.",
    "network": "({rule}) is disallowed by policy",
}
