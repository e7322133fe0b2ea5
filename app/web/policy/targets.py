"""What each rule may be about: the targets that the routes give which ask it.

A check that compares with anything else would hold for everybody, or nobody, and not say so.
"""

from __future__ import annotations

import re

from app.web.policy import compute, identity, image, network, novella

PROJECT = frozenset({"project_id", "tenant_id"})
"""Whose the thing is; where a request is about no one thing, the caller's own."""
USER = frozenset({"user_id"})
"""Who made the thing; only servers, what was asked of them, and their groups and keys know."""
NETWORK = frozenset({"network:project_id"})
TARGETS = tuple(
    sorted(PROJECT | USER | NETWORK)
    + ["target.user.id", "target.project.id", "target.token.user_id"]
)
"""All there are."""
_ASKED = {*compute.RULES, *identity.RULES, *image.RULES, *network.RULES, *novella.RULES}
_API = "os_compute_api:"
# Asked about one server that the path names.
_OF_SERVERS = re.compile(
    r"servers:(?:show|update|delete|start|stop|reboot|trigger_crash_dump|rebuild|create_image"
    r"|(?:confirm_|revert_)?resize|migrations:.*)"
    r"|servers:rebuild:trusted_certs"
    r"|(?:ips|server-metadata|os-server-tags|os-attach-interfaces|os-volumes-attachments"
    r"|os-server-password|os-deferred-delete|os-shelve|os-migrate-server|os-admin-actions"
    r"|os-pause-server|os-suspend-server):.*"
    r"|os-lock-server:(?:un)?lock|os-instance-actions:(?:list|show)"
    r"|os-(?:security-groups|floating-ips):(?:add|remove)"
    r"|os-(?:create-backup|rescue|unrescue|evacuate|remote-consoles|admin-password"
    r"|server-diagnostics|console-output)"
)
_OTHERS = frozenset(
    {
        "compute:server:topology:index",
        *(f"{_API}os-keypairs:{verb}" for verb in ("index", "show", "create", "delete")),
        *(f"{_API}os-server-groups:{verb}" for verb in ("show", "delete")),
        *(f"novella:tasks:{verb}" for verb in ("show", "cancel", "placement")),
    }
)
_OF_PORTS = re.compile(
    r"(?:create|update)_port:(?:mac_address|allowed_address_pairs|port_security_enabled)"
)
_OF_USERS = frozenset(
    f"identity:{name}"
    for name in (
        "get_user",
        "change_password",
        "list_user_projects",
        "list_groups_for_user",
        "list_application_credentials",
        "create_application_credential",
        "get_application_credential",
        "delete_application_credential",
    )
)
_OF_TOKENS = frozenset({"identity:validate_token", "identity:revoke_token"})


def given(rule: str) -> frozenset[str]:
    """The targets that a rule may compare with: all, where others than our routes ask it."""
    if rule not in _ASKED:
        return frozenset(TARGETS)
    if rule.startswith("identity:"):
        return _of_identity(rule)
    found = PROJECT
    name = rule.removeprefix(_API)
    if rule in _OTHERS or (name != rule and _OF_SERVERS.fullmatch(name)):
        found |= USER
    if _OF_PORTS.fullmatch(rule):
        found |= NETWORK
    return found


def _of_identity(rule: str) -> frozenset[str]:
    if rule in _OF_USERS:
        return frozenset({"target.user.id"})
    if rule in _OF_TOKENS:
        return frozenset({"target.token.user_id"})
    return frozenset({"target.project.id"} if rule == "identity:get_project" else ())
