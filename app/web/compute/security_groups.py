"""Security groups of servers."""

from __future__ import annotations

from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from app.models import SecurityGroup, SecurityRule
from app.store import security_groups, server_listing, server_security
from app.store.database import reading
from app.web import context
from app.web.accepting import Accepted, accept
from app.web.answers import answer
from app.web.api import Route
from app.web.compute import network_schemas
from app.web.compute.actions import asking, register
from app.web.compute.versions import ns
from app.web.policy import require
from app.web.shapes import proxies as shapes

_JOINS = "update_port"
"""Network's rule for what these are in truth: other groups for the server's ports."""


def shown(session: Session, found: list[SecurityGroup]) -> list[dict[str, Any]]:
    """Groups as Compute shows them: with the rules for what comes in."""
    rules = security_groups.rules_of(session, [group.id for group in found])
    remote = {one.remote_group_id for each in rules.values() for one in each}
    names = security_groups.names(session, [one for one in remote if one])
    return [
        {
            "id": group.id,
            "name": group.name,
            "description": group.description,
            "tenant_id": group.project_id,
            "rules": [rule(one, names) for one in rules[group.id] if one.direction == "ingress"],
        }
        for group in found
    ]


def rule(row: SecurityRule, names: dict[str, tuple[str, str]]) -> dict[str, Any]:
    """A rule as Compute shows it; `names` has (name, project) of the groups that rules name."""
    group: dict[str, str] = {}
    prefix: dict[str, str] = {}
    if row.remote_group_id:
        name, project = names[row.remote_group_id]
        group = {"name": name, "tenant_id": project}
    else:
        prefix = {"cidr": row.remote_ip or ("::/0" if row.ethertype == "IPv6" else "0.0.0.0/0")}
    any_port = row.port_min is None and row.protocol in ("tcp", "udp", "icmp")
    low, high = (-1, -1) if any_port and row.protocol == "icmp" else (row.port_min, row.port_max)
    if any_port and row.protocol != "icmp":
        low, high = 1, 65535
    return {
        "id": row.id,
        "parent_group_id": row.group_id,
        "ip_protocol": row.protocol,
        "from_port": low,
        "to_port": -1 if row.protocol == "icmp" and high is None else high,
        "ip_range": prefix,
        "group": group,
    }


@ns.route("/v2.1/servers/<server_id>/os-security-groups")
class ServerSecurityGroups(Route):
    shows = {"get": shapes.SECURITY_GROUPS}
    policy = {"get": "os_compute_api:os-security-groups:list"}
    needs = {"get": ("get_security_group",)}

    def get(self, server_id: str) -> Response:
        """List a server's security groups."""
        with reading() as session:
            found = server_listing.get(session, context.caller(), server_id)
            groups = shown(session, server_security.of_server(session, found.id))
        return answer({"security_groups": groups})


@register("addSecurityGroup", "os_compute_api:os-security-groups:add", network_schemas.ADD_GROUP)
@asking(_JOINS)
def add(server_id: str, value: Any) -> Response:
    """Put a server into a security group, by its name or id."""
    require(_JOINS)

    def work(session: Session) -> Accepted:
        server_security.add(session, context.caller(), server_id, value["name"])
        return Accepted([])

    return accept(work)


@register(
    "removeSecurityGroup", "os_compute_api:os-security-groups:remove", network_schemas.REMOVE_GROUP
)
@asking(_JOINS)
def remove(server_id: str, value: Any) -> Response:
    """Take a server out of a security group, by its name or id."""
    require(_JOINS)

    def work(session: Session) -> Accepted:
        server_security.remove(session, context.caller(), server_id, value["name"])
        return Accepted([])

    return accept(work)
