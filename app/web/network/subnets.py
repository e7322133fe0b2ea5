"""Subnets."""

from __future__ import annotations

from flask import Response

from app.models import Subnet
from app.store import networks
from app.store.database import reading
from app.web import context
from app.web.answers import answer
from app.web.api import Route
from app.web.network import views
from app.web.network.resources import chosen, filters, listed, page
from app.web.network.versions import ns

_COLUMNS = {
    "id": ("id", str),
    "name": ("name", str),
    "network_id": ("network_id", str),
    "cidr": ("cidr", str),
    "gateway_ip": ("gateway_ip", str),
    "tenant_id": ("project_id", str),
    "project_id": ("project_id", str),
    "enable_dhcp": ("enable_dhcp", bool),
}


@ns.route("/v2.0/subnets")
class Subnets(Route):
    policy = {"get": "get_subnet"}

    @ns.doc(params=dict.fromkeys(_COLUMNS, "exactly this; several times for several"))
    def get(self) -> Response:
        """List the subnets of networks that one may use."""
        wanted = page()
        with reading() as session:
            found = networks.listed(session, context.caller(), Subnet, filters(_COLUMNS), wanted)
        return answer(listed("subnets", [views.subnet(row) for row in found], wanted.limit))


@ns.route("/v2.0/subnets/<subnet_id>")
class OneSubnet(Route):
    policy = {"get": "get_subnet"}

    def get(self, subnet_id: str) -> Response:
        """Show a subnet."""
        with reading() as session:
            found = networks.get(session, context.caller(), Subnet, subnet_id)
        return answer({"subnet": chosen([views.subnet(found)])[0]})
