"""Ports."""

from __future__ import annotations

from flask import Response

from app.models import Port
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
    "device_id": ("server_id", str),
    "mac_address": ("mac", str),
    "tenant_id": ("project_id", str),
    "project_id": ("project_id", str),
}


@ns.route("/v2.0/ports")
class Ports(Route):
    policy = {"get": "get_port"}

    @ns.doc(params=dict.fromkeys(_COLUMNS, "exactly this; several times for several"))
    def get(self) -> Response:
        """List the ports of one's servers."""
        wanted, caller = page(), context.caller()
        with reading() as session:
            found = networks.listed(session, caller, Port, filters(_COLUMNS), wanted)
            facts = networks.port_facts(session, found)
        shown = [views.port(row, facts, caller) for row in found]
        return answer(listed("ports", shown, wanted.limit))


@ns.route("/v2.0/ports/<port_id>")
class OnePort(Route):
    policy = {"get": "get_port"}

    def get(self, port_id: str) -> Response:
        """Show a port."""
        caller = context.caller()
        with reading() as session:
            found = networks.get(session, caller, Port, port_id)
            facts = networks.port_facts(session, [found])
        return answer({"port": chosen([views.port(found, facts, caller)])[0]})
