"""Ports."""

from __future__ import annotations

from dataclasses import replace

from flask import Response

from app.models import Port
from app.store import database, networks
from app.web import context
from app.web.answers import answer
from app.web.network import views
from app.web.network.resources import (
    Collection,
    Item,
    address_filters,
    chosen,
    listed,
    listing,
    reading,
)
from app.web.network.versions import ns

_COLUMNS = {
    "id": ("id", str),
    "name": ("name", str),
    "network_id": ("network_id", str),
    "device_id": ("server_id", str),
    "device_owner": ("device_owner", str),
    "mac_address": ("mac", str),
    "status": ("status", str),
    "tenant_id": ("project_id", str),
    "project_id": ("project_id", str),
}
_FOR_ADMINISTRATORS = {"binding:host_id": ("host", str)}
_FIXED = {
    "admin_state_up": "true",
    "port_security_enabled": "false",
    "description": "",
    "security_groups": "",
    "binding:vnic_type": "normal",
    "tags": "",
    "tags-any": "",
}
_SORTABLE = ("id", "name", "network_id", "device_id", "mac_address", "tenant_id", "project_id")


@ns.route("/v2.0/ports")
class Ports(Collection):
    policy = reading("get_port")

    @ns.doc(params=dict.fromkeys(_COLUMNS, "exactly this; several times for several"))
    def get(self) -> Response:
        """List the ports of one's servers."""
        caller = context.caller()
        columns = _COLUMNS | (_FOR_ADMINISTRATORS if caller.is_admin else {})
        wanted = listing(columns, _SORTABLE, _FIXED)
        wanted = replace(wanted, filters={**wanted.filters, **address_filters()})
        with database.reading() as session:
            found = networks.listed(session, caller, Port, wanted)
            facts = networks.port_facts(session, found)
        shown = [views.port(row, facts, caller) for row in found]
        return answer(listed("ports", shown, wanted.page.limit))


@ns.route("/v2.0/ports/<port_id>")
class OnePort(Item):
    policy = reading("get_port")

    def get(self, port_id: str) -> Response:
        """Show a port."""
        caller = context.caller()
        with database.reading() as session:
            found = networks.get(session, caller, Port, port_id)
            facts = networks.port_facts(session, [found])
        return answer({"port": chosen([views.port(found, facts, caller)])[0]})
