"""Floating addresses."""

from __future__ import annotations

from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from app.models import FloatingIp, Port
from app.store import database, floating_ips, networks
from app.web import context, policy
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.network import schemas, values, views
from app.web.network.resources import chosen, listed, listing, owner
from app.web.network.versions import ns
from app.web.shapes import network as shapes
from app.web.shapes.parts import NOTHING, under

_COLUMNS = {
    "id": ("id", str),
    "floating_ip_address": ("address", str),
    "floating_network_id": ("network_id", str),
    "port_id": ("port_id", str),
    "router_id": ("router_id", str),
    "description": ("description", str),
    "status": ("status", str),
    "tenant_id": ("project_id", str),
    "project_id": ("project_id", str),
}
_ADDRESS = "create_floatingip:floating_ip_address"
_SORTABLE = ("id", "floating_ip_address", "floating_network_id", "router_id", "project_id")


@ns.route("/v2.0/floatingips")
class FloatingIps(Route):
    shows = {
        "get": shapes.listed("floatingips", shapes.FLOATING_IP),
        "post": under("floatingip", shapes.FLOATING_IP),
    }
    policy = {"get": "get_floatingip", "post": "create_floatingip"}
    answers = {"post": (201,)}
    asks = {"post": (_ADDRESS,)}

    @ns.doc(params=dict.fromkeys(_COLUMNS, "exactly this; several times for several"))
    def get(self) -> Response:
        """List the project's floating addresses."""
        wanted = listing(_COLUMNS, _SORTABLE, {"tags": "", "tags-any": ""})
        with database.reading() as session:
            found = networks.listed(session, context.caller(), FloatingIp, wanted)
            shown = _views(session, found)
        return answer(listed("floatingips", shown, wanted.page.limit))

    @documented(ns, schemas.NEW_FLOATING)
    def post(self) -> Response:
        """Get an address of an external network, for a port or for later."""
        given = body(schemas.NEW_FLOATING)["floatingip"]
        wanted = _columns(given) | {
            "network_id": given["floating_network_id"],
            "project_id": owner(given, "create_floatingip"),
            "subnet_id": given.get("subnet_id"),
        }
        if "floating_ip_address" in given:
            field = "floatingip.floating_ip_address"
            policy.require(_ADDRESS)
            wanted["address"] = values.address(field, given["floating_ip_address"])

        def work(session: Session) -> Response:
            made = floating_ips.add(session, context.caller(), wanted)
            return answer({"floatingip": _views(session, [made])[0]}, 201)

        return once(work)


@ns.route("/v2.0/floatingips/<floatingip_id>")
class OneFloatingIp(Route):
    shows = {
        "get": shapes.shown("floatingip", shapes.FLOATING_IP),
        "put": under("floatingip", shapes.FLOATING_IP),
        "delete": NOTHING,
    }
    policy = {"get": "get_floatingip", "put": "update_floatingip", "delete": "delete_floatingip"}

    def get(self, floatingip_id: str) -> Response:
        """Show a floating address."""
        with database.reading() as session:
            found = networks.get(session, context.caller(), FloatingIp, floatingip_id)
            shown = _views(session, [found])
        return answer({"floatingip": chosen(shown)[0]})

    @documented(ns, schemas.FLOATING)
    def put(self, floatingip_id: str) -> Response:
        """Give the address to a port, or take it away."""
        given = body(schemas.FLOATING)["floatingip"]
        with database.transaction() as session:
            caller = context.caller()
            found = floating_ips.change(session, caller, floatingip_id, _columns(given))
            shown = _views(session, [found])
        return answer({"floatingip": shown[0]})

    def delete(self, floatingip_id: str) -> Response:
        """Give the address back."""
        with database.transaction() as session:
            floating_ips.remove(session, context.caller(), floatingip_id)
        return nothing()


def _views(session: Session, found: list[FloatingIp]) -> list[dict[str, Any]]:
    ids = [row.port_id for row in found if row.port_id]
    ports = networks.by_id(session, Port, ids)
    return [views.floating_ip(row, ports.get(row.port_id or "")) for row in found]


def _columns(given: dict[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {
        name: given[name] for name in ("port_id", "description") if name in given
    }
    fixed = given.get("fixed_ip_address")
    if fixed is not None:
        columns["fixed"] = values.address("floatingip.fixed_ip_address", fixed)
    return columns
