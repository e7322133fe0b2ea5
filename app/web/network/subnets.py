"""Subnets."""

from __future__ import annotations

from flask import Response
from sqlalchemy.orm import Session

from app.models import Subnet
from app.store import database, network_changes, networks
from app.web import context
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.network import schemas, values, views
from app.web.network.resources import chosen, listed, listing
from app.web.network.versions import ns
from app.web.shapes import network as shapes
from app.web.shapes.parts import NOTHING, under

_COLUMNS = {
    "id": ("id", str),
    "name": ("name", str),
    "description": ("description", str),
    "network_id": ("network_id", str),
    "cidr": ("cidr", str),
    "gateway_ip": ("gateway_ip", str),
    "tenant_id": ("project_id", str),
    "project_id": ("project_id", str),
    "enable_dhcp": ("enable_dhcp", bool),
}
_FIXED = {
    "ip_version": "4",
    "subnetpool_id": "",
    "service_types": "",
    "segment_id": "",
    "tags": "",
    "tags-any": "",
}
_SORTABLE = (
    "id", "name", "network_id", "cidr", "gateway_ip", "tenant_id", "project_id", "enable_dhcp",
)  # fmt: skip


@ns.route("/v2.0/subnets")
class Subnets(Route):
    shows = {"get": shapes.listed("subnets", shapes.SUBNET), "post": under("subnet", shapes.SUBNET)}
    policy = {"get": "get_subnet", "post": "create_subnet"}
    answers = {"post": (201,)}

    @ns.doc(params=dict.fromkeys(_COLUMNS, "exactly this; several times for several"))
    def get(self) -> Response:
        """List the subnets of networks that one may use."""
        wanted = listing(_COLUMNS, _SORTABLE, _FIXED)
        with database.reading() as session:
            found = networks.listed(session, context.caller(), Subnet, wanted)
        return answer(listed("subnets", [views.subnet(row) for row in found], wanted.page.limit))

    @documented(ns, schemas.NEW_SUBNET)
    def post(self) -> Response:
        """Make a subnet of a network of one's own; it overlaps with no other of the cloud."""
        new = values.new_subnet(body(schemas.NEW_SUBNET)["subnet"])
        if not context.caller().is_admin:
            values.check_for_tenants(new["cidr"], context.web().for_tenants)

        def work(session: Session) -> Response:
            made = network_changes.add_subnet(
                session, context.caller(), new, context.web().reserved
            )
            return answer({"subnet": views.subnet(made)}, 201)

        return once(work)


@ns.route("/v2.0/subnets/<subnet_id>")
class OneSubnet(Route):
    shows = {
        "get": shapes.shown("subnet", shapes.SUBNET),
        "put": under("subnet", shapes.SUBNET),
        "delete": NOTHING,
    }
    policy = {"get": "get_subnet", "put": "update_subnet", "delete": "delete_subnet"}

    def get(self, subnet_id: str) -> Response:
        """Show a subnet."""
        with database.reading() as session:
            found = networks.get(session, context.caller(), Subnet, subnet_id)
        return answer({"subnet": chosen([views.subnet(found)])[0]})

    @documented(ns, schemas.SUBNET)
    def put(self, subnet_id: str) -> Response:
        """Change a subnet; its guests learn of it when they are started."""
        given = body(schemas.SUBNET)["subnet"]
        with database.transaction() as session:
            found = network_changes.own_subnet(session, context.caller(), subnet_id)
            changes = values.subnet_changes(found, given)
            found = network_changes.change_subnet(session, found, changes)
        return answer({"subnet": views.subnet(found)})

    def delete(self, subnet_id: str) -> Response:
        """Remove a subnet that no port has an address of."""
        with database.transaction() as session:
            network_changes.remove_subnet(session, context.caller(), subnet_id)
        return nothing()
