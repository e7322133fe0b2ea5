"""Rules of security groups."""

from __future__ import annotations

from flask import Response
from sqlalchemy.orm import Session

from app.models import SecurityRule
from app.store import database, networks, security_groups
from app.web import context
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.network import schemas, values, views
from app.web.network.groups import ensure_default
from app.web.network.resources import chosen, listed, listing
from app.web.network.versions import ns
from app.web.shapes import network as shapes
from app.web.shapes.parts import NOTHING, under

_COLUMNS = {
    "id": ("id", str),
    "security_group_id": ("group_id", str),
    "direction": ("direction", str),
    "ethertype": ("ethertype", str),
    "protocol": ("protocol", str),
    "port_range_min": ("port_min", int),
    "port_range_max": ("port_max", int),
    "remote_ip_prefix": ("remote_ip", str),
    "remote_group_id": ("remote_group_id", str),
    "description": ("description", str),
    "tenant_id": ("project_id", str),
    "project_id": ("project_id", str),
}
_SORTABLE = ("id", "security_group_id", "direction", "ethertype", "tenant_id", "project_id")


@ns.route("/v2.0/security-group-rules")
class SecurityGroupRules(Route):
    shows = {
        "get": shapes.listed("security_group_rules", shapes.SECURITY_RULE),
        "post": under("security_group_rule", shapes.SECURITY_RULE),
    }
    policy = {"get": "get_security_group_rule", "post": "create_security_group_rule"}
    answers = {"post": (201,)}

    @ns.doc(params=dict.fromkeys(_COLUMNS, "exactly this; several times for several"))
    def get(self) -> Response:
        """List the rules of the project's security groups."""
        wanted = listing(_COLUMNS, _SORTABLE)
        ensure_default()
        with database.reading() as session:
            found = networks.listed(session, context.caller(), SecurityRule, wanted)
        shown = [views.security_rule(row) for row in found]
        return answer(listed("security_group_rules", shown, wanted.page.limit))

    @documented(ns, schemas.NEW_RULE)
    def post(self) -> Response:
        """Let more pass; hosts hear of it at once, and until they have."""
        given = body(schemas.NEW_RULE)["security_group_rule"]

        def work(session: Session) -> Response:
            rule = values.rule(given)
            made = security_groups.add_rule(session, context.caller(), rule)
            return answer({"security_group_rule": views.security_rule(made)}, 201)

        return once(work)


@ns.route("/v2.0/security-group-rules/<security_group_rule_id>")
class OneSecurityGroupRule(Route):
    shows = {"get": shapes.shown("security_group_rule", shapes.SECURITY_RULE), "delete": NOTHING}
    policy = {"get": "get_security_group_rule", "delete": "delete_security_group_rule"}

    def get(self, security_group_rule_id: str) -> Response:
        """Show a rule."""
        ensure_default()
        with database.reading() as session:
            found = networks.get(session, context.caller(), SecurityRule, security_group_rule_id)
        return answer({"security_group_rule": chosen([views.security_rule(found)])[0]})

    def delete(self, security_group_rule_id: str) -> Response:
        """Let less pass; connections that stand are not cut."""
        with database.transaction() as session:
            security_groups.remove_rule(session, context.caller(), security_group_rule_id)
        return nothing()
