"""Subnets."""

from __future__ import annotations

from flask import Response

from app.models import Subnet
from app.store import database, networks
from app.web import context
from app.web.answers import answer
from app.web.network import views
from app.web.network.resources import Collection, Item, chosen, listed, listing, reading
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
_FIXED = {
    "ip_version": "4",
    "description": "",
    "subnetpool_id": "",
    "service_types": "",
    "segment_id": "",
    "tags": "",
    "tags-any": "",
}
_SORTABLE = ("id", "name", "network_id", "cidr", "gateway_ip", "tenant_id", "project_id")


@ns.route("/v2.0/subnets")
class Subnets(Collection):
    policy = reading("get_subnet")

    @ns.doc(params=dict.fromkeys(_COLUMNS, "exactly this; several times for several"))
    def get(self) -> Response:
        """List the subnets of networks that one may use."""
        wanted = listing(_COLUMNS, _SORTABLE, _FIXED)
        with database.reading() as session:
            found = networks.listed(session, context.caller(), Subnet, wanted)
        return answer(listed("subnets", [views.subnet(row) for row in found], wanted.page.limit))


@ns.route("/v2.0/subnets/<subnet_id>")
class OneSubnet(Item):
    policy = reading("get_subnet")

    def get(self, subnet_id: str) -> Response:
        """Show a subnet."""
        with database.reading() as session:
            found = networks.get(session, context.caller(), Subnet, subnet_id)
        return answer({"subnet": chosen([views.subnet(found)])[0]})
