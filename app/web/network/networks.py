"""Networks."""

from __future__ import annotations

from flask import Response

from app.models import Network
from app.store import database, networks
from app.web import context
from app.web.answers import answer
from app.web.network import views
from app.web.network.resources import Collection, Item, chosen, listed, listing, reading
from app.web.network.versions import ns

_COLUMNS = {
    "id": ("id", str),
    "name": ("name", str),
    "description": ("description", str),
    "tenant_id": ("project_id", str),
    "project_id": ("project_id", str),
    "shared": ("shared", bool),
    "is_default": ("is_default", bool),
    "admin_state_up": ("admin_state_up", bool),
    "status": ("status", str),
}
_FIXED = {
    "router:external": "false",
    "port_security_enabled": "false",
    "provider:network_type": "",
    "provider:physical_network": "",
    "provider:segmentation_id": "",
    "tags": "",
    "tags-any": "",
}
_SORTABLE = ("id", "name", "tenant_id", "project_id", "shared", "admin_state_up")


@ns.route("/v2.0/networks")
class Networks(Collection):
    policy = reading("get_network")

    @ns.doc(params=dict.fromkeys(_COLUMNS, "exactly this; several times for several"))
    def get(self) -> Response:
        """List one's own networks and shared ones."""
        wanted = listing(_COLUMNS, _SORTABLE, _FIXED)
        with database.reading() as session:
            found = networks.listed(session, context.caller(), Network, wanted)
            subnets = networks.subnet_ids(session, [row.id for row in found])
        shown = [views.network(row, subnets.get(row.id, [])) for row in found]
        return answer(listed("networks", shown, wanted.page.limit))


@ns.route("/v2.0/networks/<network_id>")
class OneNetwork(Item):
    policy = reading("get_network")

    def get(self, network_id: str) -> Response:
        """Show a network."""
        with database.reading() as session:
            found = networks.get(session, context.caller(), Network, network_id)
            subnets = networks.subnet_ids(session, [found.id])
        shown = views.network(found, subnets.get(found.id, []))
        return answer({"network": chosen([shown])[0]})
