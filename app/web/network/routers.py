"""Routers."""

from __future__ import annotations

from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from app.errors import Invalid
from app.models import Port, Router
from app.store import database, networks, routers
from app.web import context
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body, is_true
from app.web.network import schemas, values, views
from app.web.network.resources import chosen, chosen_columns, listed, listing, owner
from app.web.network.versions import ns
from app.web.shapes import network as shapes
from app.web.shapes.parts import NOTHING, under

_COLUMNS = {
    "id": ("id", str),
    "name": ("name", str),
    "description": ("description", str),
    "tenant_id": ("project_id", str),
    "project_id": ("project_id", str),
    "admin_state_up": ("admin_state_up", bool),
    "status": ("status", str),
}
_FIXED = {"distributed": "false", "ha": "false", "tags": "", "tags-any": ""}
_SORTABLE = ("id", "name", "tenant_id", "project_id", "admin_state_up")
_WRITABLE = {"name": "name", "description": "description", "admin_state_up": "admin_state_up"}


@ns.route("/v2.0/routers")
class Routers(Route):
    shows = {"get": shapes.listed("routers", shapes.ROUTER), "post": under("router", shapes.ROUTER)}
    policy = {"get": "get_router", "post": "create_router"}
    answers = {"post": (201,)}

    @ns.doc(params=dict.fromkeys(_COLUMNS, "exactly this; several times for several"))
    def get(self) -> Response:
        """List the project's routers."""
        wanted = listing(_COLUMNS, _SORTABLE, _FIXED)
        with database.reading() as session:
            found = networks.listed(session, context.caller(), Router, wanted)
            shown = _views(session, found)
        return answer(listed("routers", shown, wanted.page.limit))

    @documented(ns, schemas.NEW_ROUTER)
    def post(self) -> Response:
        """Make a router, with or without a way out."""
        given = body(schemas.NEW_ROUTER)["router"]
        columns = _columns(given) | {"project_id": owner(given, "create_router")}

        def work(session: Session) -> Response:
            made = routers.add(session, context.caller(), columns, _gateway(given))
            return answer({"router": _views(session, [made])[0]}, 201)

        return once(work)


@ns.route("/v2.0/routers/<router_id>")
class OneRouter(Route):
    shows = {
        "get": shapes.shown("router", shapes.ROUTER),
        "put": under("router", shapes.ROUTER),
        "delete": NOTHING,
    }
    policy = {"get": "get_router", "put": "update_router", "delete": "delete_router"}

    def get(self, router_id: str) -> Response:
        """Show a router."""
        with database.reading() as session:
            found = networks.get(session, context.caller(), Router, router_id)
            shown = _views(session, [found])
        return answer({"router": chosen(shown)[0]})

    @documented(ns, schemas.ROUTER)
    def put(self, router_id: str) -> Response:
        """Change a router, or its way out."""
        given = body(schemas.ROUTER)["router"]
        more = {"gateway": _gateway(given)} if "external_gateway_info" in given else {}
        with database.transaction() as session:
            caller = context.caller()
            found = routers.change(session, caller, router_id, _columns(given), **more)
            shown = _views(session, [found])
        return answer({"router": shown[0]})

    def delete(self, router_id: str) -> Response:
        """Remove a router that has no interfaces."""
        with database.transaction() as session:
            routers.remove(session, context.caller(), router_id)
        return nothing()


class _Interface(Route):
    shows = {"put": shapes.ROUTER_INTERFACE}

    def _answer(self, router_id: str, port: Port) -> Response:
        return answer(
            {
                "id": router_id,
                "tenant_id": port.project_id,
                "project_id": port.project_id,
                "port_id": port.id,
                "network_id": port.network_id,
                "subnet_id": port.subnet_id,
                "subnet_ids": [port.subnet_id],
                "tags": [],
            }
        )

    def _given(self) -> dict[str, str]:
        given: dict[str, str] = body(schemas.INTERFACE)
        return given


@ns.route("/v2.0/routers/<router_id>/add_router_interface")
class AddInterface(_Interface):
    policy = {"put": "add_router_interface"}

    @documented(ns, schemas.INTERFACE)
    def put(self, router_id: str) -> Response:
        """Lead a subnet, by its gateway's address or by a port."""
        given = self._given()
        if len(given) > 1:
            raise Invalid(
                "Bad router request: Cannot specify both subnet-id and port-id.", code="BadRequest"
            )
        with database.transaction() as session:
            port = routers.add_interface(session, context.caller(), router_id, given)
        return self._answer(router_id, port)


@ns.route("/v2.0/routers/<router_id>/remove_router_interface")
class RemoveInterface(_Interface):
    policy = {"put": "remove_router_interface"}

    @documented(ns, schemas.INTERFACE)
    def put(self, router_id: str) -> Response:
        """Lead a subnet no more."""
        given = self._given()
        with database.transaction() as session:
            port = routers.remove_interface(session, context.caller(), router_id, given)
        return self._answer(router_id, port)


def _views(session: Session, found: list[Router]) -> list[dict[str, Any]]:
    gateways = routers.gateways(session, found)
    return [views.router(row, gateways.get(row.id)) for row in found]


def _gateway(given: dict[str, Any]) -> dict[str, Any] | None:
    wanted = given.get("external_gateway_info")
    if not wanted:
        return None
    return {**wanted, "enable_snat": is_true(wanted.get("enable_snat", True))}


def _columns(given: dict[str, Any]) -> dict[str, Any]:
    columns = chosen_columns(given, _WRITABLE)
    if "admin_state_up" in columns:
        columns["admin_state_up"] = is_true(columns["admin_state_up"])
    if "routes" in given:
        columns["routes"] = values.routes("router.routes", given["routes"])
    return columns
