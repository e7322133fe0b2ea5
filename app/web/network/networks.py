"""Networks."""

from __future__ import annotations

from flask import Response

from app.models import Network
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
    "tenant_id": ("project_id", str),
    "project_id": ("project_id", str),
    "shared": ("shared", bool),
    "is_default": ("is_default", bool),
    "admin_state_up": ("admin_state_up", bool),
}


@ns.route("/v2.0/networks")
class Networks(Route):
    policy = {"get": "get_network"}

    @ns.doc(params=dict.fromkeys(_COLUMNS, "exactly this; several times for several"))
    def get(self) -> Response:
        """List one's own networks and shared ones."""
        wanted = page()
        with reading() as session:
            found = networks.listed(session, context.caller(), Network, filters(_COLUMNS), wanted)
            subnets = networks.subnet_ids(session, [row.id for row in found])
        shown = [views.network(row, subnets.get(row.id, [])) for row in found]
        return answer(listed("networks", shown, wanted.limit))


@ns.route("/v2.0/networks/<network_id>")
class OneNetwork(Route):
    policy = {"get": "get_network"}

    def get(self, network_id: str) -> Response:
        """Show a network."""
        with reading() as session:
            found = networks.get(session, context.caller(), Network, network_id)
            subnets = networks.subnet_ids(session, [found.id])
        shown = views.network(found, subnets.get(found.id, []))
        return answer({"network": chosen([shown])[0]})
