"""Security groups as Compute had them, to 2.35: for clients that know no Network."""

from __future__ import annotations

from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid, OverQuota
from app.models import SecurityGroup
from app.store import networks, security_groups
from app.store.database import reading, transaction
from app.store.networks import Listing
from app.store.paging import Page
from app.web import context, query
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.compute import network_schemas
from app.web.compute.ranges import PROXIES
from app.web.compute.security_groups import rule, shown
from app.web.compute.versions import ns
from app.web.microversions import before
from app.web.network import values
from app.web.network.groups import ensure_default
from app.web.shapes import proxies as shapes
from app.web.shapes.parts import NOTHING

_RULE = "os_compute_api:os-security-groups:"
_CIDR = "0.0.0.0/0"


@ns.route("/v2.1/os-security-groups")
class SecurityGroups(Route):
    shows = {"get": shapes.SECURITY_GROUPS, "post": shapes.ONE_SECURITY_GROUP}
    versions = before(PROXIES, "get", "post")
    policy = {"get": f"{_RULE}get", "post": f"{_RULE}create"}
    needs = {"get": ("get_security_group",), "post": ("create_security_group",)}

    @ns.doc(params={"limit": "so many at most", "offset": "so many are left out"})
    def get(self) -> Response:
        """List security groups."""
        limit, offset = query.limit(), query.number("offset", 0)
        caller = context.caller()
        everybody = caller.is_admin and bool(query.flag("all_tenants"))
        ensure_default()
        with reading() as session:
            wanted = Listing(
                filters={} if everybody else {"project_id": [caller.project_id]},
                page=Page(offset + limit),
                sort_key="name",
            )
            found = networks.listed(session, caller, SecurityGroup, wanted)
            groups = shown(session, found[offset : offset + limit])
        return answer({"security_groups": groups})

    @documented(ns, network_schemas.GROUP)
    def post(self) -> Response:
        """Make a security group."""
        given = body(network_schemas.GROUP)["security_group"]

        def work(session: Session) -> Response:
            project = context.caller().project_id
            try:
                made = security_groups.create(session, project, given["name"], given["description"])
            except Conflict as error:
                raise _as_nova(error) from error
            return answer({"security_group": shown(session, [made])[0]})

        return once(work)


@ns.route("/v2.1/os-security-groups/<security_group_id>")
class OneSecurityGroup(Route):
    shows = {"get": shapes.ONE_SECURITY_GROUP, "put": shapes.ONE_SECURITY_GROUP, "delete": NOTHING}
    versions = before(PROXIES, "get", "put", "delete")
    policy = {"get": f"{_RULE}show", "put": f"{_RULE}update", "delete": f"{_RULE}delete"}
    needs = {
        "get": ("get_security_group",),
        "put": ("update_security_group",),
        "delete": ("delete_security_group",),
    }
    answers = {"delete": (202,)}

    def get(self, security_group_id: str) -> Response:
        """Show a security group."""
        ensure_default()
        with reading() as session:
            found = networks.get(session, context.caller(), SecurityGroup, security_group_id)
            group = shown(session, [found])[0]
        return answer({"security_group": group})

    @documented(ns, network_schemas.GROUP)
    def put(self, security_group_id: str) -> Response:
        """Change a security group's name and description."""
        given = body(network_schemas.GROUP)["security_group"]
        changes = {"name": given["name"], "description": given["description"]}
        with transaction() as session:
            caller = context.caller()
            try:
                found = security_groups.change(session, caller, security_group_id, changes)
            except Conflict as error:
                raise _as_nova(error) from error
            group = shown(session, [found])[0]
        return answer({"security_group": group})

    def delete(self, security_group_id: str) -> Response:
        """Remove a security group that nothing is in."""
        with transaction() as session:
            try:
                security_groups.remove(session, context.caller(), security_group_id)
            except Conflict as error:
                raise _as_nova(error) from error
        return nothing(202)


@ns.route("/v2.1/os-security-group-rules")
class SecurityGroupRules(Route):
    shows = {"post": shapes.ONE_SECURITY_RULE}
    versions = before(PROXIES, "post")
    policy = {"post": f"{_RULE}rule:create"}
    needs = {"post": ("create_security_group_rule",)}

    @documented(ns, network_schemas.RULE)
    def post(self) -> Response:
        """Let more in."""
        given = _rule_of(body(network_schemas.RULE)["security_group_rule"])

        def work(session: Session) -> Response:
            try:
                made = security_groups.add_rule(session, context.caller(), values.rule(given))
            except Conflict as error:
                raise _as_nova(error) from error
            remote = [made.remote_group_id] if made.remote_group_id else []
            names = security_groups.names(session, remote)
            return answer({"security_group_rule": rule(made, names)})

        return once(work)


@ns.route("/v2.1/os-security-group-rules/<security_group_rule_id>")
class OneSecurityGroupRule(Route):
    shows = {"delete": NOTHING}
    versions = before(PROXIES, "delete")
    policy = {"delete": f"{_RULE}rule:delete"}
    needs = {"delete": ("delete_security_group_rule",)}
    answers = {"delete": (202,)}

    def delete(self, security_group_rule_id: str) -> Response:
        """Let less in."""
        with transaction() as session:
            security_groups.remove_rule(session, context.caller(), security_group_rule_id)
        return nothing(202)


def _as_nova(error: Conflict) -> Exception:
    """What Network refuses as a conflict is a bad request here; a quota is forbidden."""
    if error.code == "OverQuota":
        return OverQuota(error.message)
    return Invalid(error.message)


def _rule_of(given: dict[str, Any]) -> dict[str, Any]:
    """Compute's rule in Network's words. Raises Invalid."""
    protocol = (given.get("ip_protocol") or "").lower() or None
    group = given.get("group_id") or None
    low, high = (_port(given.get(name)) for name in ("from_port", "to_port"))
    if group is None and protocol is None:
        raise Invalid("Invalid input for field security_group_rule.ip_protocol: is missing")
    if group is None and protocol in ("tcp", "udp") and (low is None or high is None):
        raise Invalid("Invalid port range: from_port and to_port must be given, from 1 to 65535")
    if protocol not in (None, "tcp", "udp", "icmp"):
        raise Invalid(
            "Invalid input for field security_group_rule.ip_protocol: one of tcp, udp, icmp"
        )
    return {
        "security_group_id": given["parent_group_id"],
        "direction": "ingress",
        "protocol": protocol,
        "port_range_min": low,
        "port_range_max": high,
        "remote_group_id": group,
        "remote_ip_prefix": None if group else given.get("cidr") or _CIDR,
    }


def _port(given: Any) -> int | None:
    return None if given in (None, "", -1, "-1") else int(given)
