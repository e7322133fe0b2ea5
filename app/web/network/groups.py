"""Security groups: each project has `default`, and it filters nothing.

Clients look it up by name before they ask for a server in it.
"""

from __future__ import annotations

from typing import Any

from flask import Response, request

from app.domain.security_groups import DEFAULT_GROUP, default_id, rule_id
from app.errors import Invalid, NotFound
from app.web import context
from app.web.answers import answer
from app.web.network.resources import Collection, Item, chosen, listing, reading
from app.web.network.versions import ns

_COLUMNS = {name: (name, str) for name in ("id", "name", "project_id", "tenant_id")}
_RULE_COLUMNS = {
    name: (name, str) for name in ("id", "security_group_id", "direction", "project_id")
}


def _rule(direction: str) -> dict[str, Any]:
    project = context.caller().project_id
    return {
        "id": rule_id(project, direction),
        "security_group_id": default_id(project),
        "direction": direction,
        "ethertype": "IPv4",
        "protocol": None,
        "port_range_min": None,
        "port_range_max": None,
        "remote_ip_prefix": None,
        "remote_group_id": None,
        "description": "",
        "project_id": project,
        "tenant_id": project,
    }


def _rules() -> list[dict[str, Any]]:
    return [_rule(direction) for direction in ("ingress", "egress")]


def _groups() -> list[dict[str, Any]]:
    project = context.caller().project_id
    return [
        {
            "id": default_id(project),
            "name": DEFAULT_GROUP,
            "description": "Nothing is filtered",
            "stateful": True,
            "shared": False,
            "tags": [],
            "project_id": project,
            "tenant_id": project,
            "security_group_rules": _rules(),
        }
    ]


def _matching(found: list[dict[str, Any]], columns: dict[str, Any]) -> list[dict[str, Any]]:
    """What the query asks for, of a list that is never long."""
    page = listing(columns, ("id",)).page
    if page.marker is not None:
        if page.marker not in (one["id"] for one in found):
            raise Invalid("Invalid input for query parameter marker: it is not in this list")
        return []  # the page before held all
    wanted = {name: request.args.getlist(name) for name in columns if name in request.args}
    return [one for one in found if all(one[name] in values for name, values in wanted.items())]


def _one(kind: str, found: list[dict[str, Any]], id_: str) -> dict[str, Any]:
    for one in found:
        if one["id"] == id_:
            return chosen([one])[0]
    raise NotFound(f"{kind} {id_} does not exist")


@ns.route("/v2.0/security-groups")
class SecurityGroups(Collection):
    policy = reading("get_security_group")

    def get(self) -> Response:
        """List the project's security groups: there is `default`."""
        return answer({"security_groups": chosen(_matching(_groups(), _COLUMNS))})


@ns.route("/v2.0/security-groups/<security_group_id>")
class OneSecurityGroup(Item):
    policy = reading("get_security_group")

    def get(self, security_group_id: str) -> Response:
        """Show a security group."""
        found = _one("Security group", _groups(), security_group_id)
        return answer({"security_group": found})


@ns.route("/v2.0/security-group-rules")
class SecurityGroupRules(Collection):
    policy = reading("get_security_group_rule")

    def get(self) -> Response:
        """List the rules of the project's security groups: everything passes."""
        return answer({"security_group_rules": chosen(_matching(_rules(), _RULE_COLUMNS))})


@ns.route("/v2.0/security-group-rules/<security_group_rule_id>")
class OneSecurityGroupRule(Item):
    policy = reading("get_security_group_rule")

    def get(self, security_group_rule_id: str) -> Response:
        """Show a rule."""
        found = _one("Security group rule", _rules(), security_group_rule_id)
        return answer({"security_group_rule": found})
