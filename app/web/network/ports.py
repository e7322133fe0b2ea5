"""Ports."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from flask import Response, request
from sqlalchemy.orm import Session

from app.models import Network, Port
from app.store import database, networks, ports
from app.store.addresses import new_mac
from app.web import context, policy
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body, is_true
from app.web.network import schemas, values, views
from app.web.network.resources import (
    address_filters,
    chosen,
    chosen_columns,
    listed,
    listing,
    owner,
)
from app.web.network.versions import ns
from app.web.shapes import network as shapes
from app.web.shapes.parts import NOTHING, under

_COLUMNS = {
    "id": ("id", str),
    "name": ("name", str),
    "description": ("description", str),
    "network_id": ("network_id", str),
    "device_id": ("device_id", str),
    "device_owner": ("device_owner", str),
    "mac_address": ("mac", str),
    "status": ("status", str),
    "tenant_id": ("project_id", str),
    "project_id": ("project_id", str),
    "admin_state_up": ("admin_state_up", bool),
    "port_security_enabled": ("port_security_enabled", bool),
}
_BINDING = {"binding:host_id": ("host", str)}
_FIXED = {"binding:vnic_type": "normal", "tags": "", "tags-any": ""}
_SORTABLE = (
    "id", "name", "network_id", "mac_address", "tenant_id", "project_id", "admin_state_up",
)  # fmt: skip
_WRITABLE = {
    "name": "name",
    "description": "description",
    "admin_state_up": "admin_state_up",
    "device_id": "device_id",
    "device_owner": "device_owner",
    "binding:host_id": "host_id",
    "port_security_enabled": "port_security_enabled",
}


_OWNERS_ONLY = {
    "mac": "mac_address",
    "address_pairs": "allowed_address_pairs",
    "port_security_enabled": "port_security_enabled",
}


def _asks(rule: str) -> tuple[str, ...]:
    return tuple(f"{rule}:{what}" for what in ("binding:host_id", *_OWNERS_ONLY.values()))


@ns.route("/v2.0/ports")
class Ports(Route):
    shows = {"get": shapes.listed("ports", shapes.PORT), "post": under("port", shapes.PORT)}
    policy = {"get": "get_port", "post": "create_port"}
    answers = {"post": (201,)}
    asks = {"get": views.BINDING, "post": (*views.BINDING, *_asks("create_port"))}

    @ns.doc(params=dict.fromkeys(_COLUMNS, "exactly this; several times for several"))
    def get(self) -> Response:
        """List one's ports."""
        caller = context.caller()
        columns = _COLUMNS | {name: _BINDING[name] for name in _BINDING if name in views.bound()}
        wanted = listing(columns, _SORTABLE, _FIXED)
        more: dict[str, Any] = dict(address_filters())
        if "security_groups" in request.args:
            more["security_group"] = request.args.getlist("security_groups")
        wanted = replace(wanted, filters={**wanted.filters, **more})
        with database.reading() as session:
            found = networks.listed(session, caller, Port, wanted)
            shown = _views(session, found)
        return answer(listed("ports", shown, wanted.page.limit))

    @documented(ns, schemas.NEW_PORT)
    def post(self) -> Response:
        """Make a port, for a server to bring or for anything else that is to have an address."""
        given = body(schemas.NEW_PORT)["port"]
        if given.get("binding:host_id"):
            policy.require("create_port:binding:host_id")
        own = values.mac(given.get("mac_address") or new_mac())
        columns = _columns(given, own) | {
            "network_id": given["network_id"],
            "project_id": owner(given, "create_port"),
            "mac": own,
        }
        wanted, groups = values.wanted_address(given), given.get("security_groups")

        chosen_by_caller = {*_columns(given, own), *(["mac"] if "mac_address" in given else [])}

        def work(session: Session) -> Response:
            caller = context.caller()
            network = networks.get(session, caller, Network, given["network_id"])
            _check_owner(network, "create", chosen_by_caller)
            ports.check_device(caller, "create", columns)
            made = ports.add(session, caller, columns, wanted, groups)
            return answer({"port": _views(session, [made])[0]}, 201)

        return once(work)


@ns.route("/v2.0/ports/<port_id>")
class OnePort(Route):
    shows = {
        "get": shapes.shown("port", shapes.PORT),
        "put": under("port", shapes.PORT),
        "delete": NOTHING,
    }
    policy = {"get": "get_port", "put": "update_port", "delete": "delete_port"}
    asks = {"get": views.BINDING, "put": (*views.BINDING, *_asks("update_port"))}

    def get(self, port_id: str) -> Response:
        """Show a port."""
        with database.reading() as session:
            found = networks.get(session, context.caller(), Port, port_id)
            shown = _views(session, [found])
        return answer({"port": chosen(shown)[0]})

    @documented(ns, schemas.PORT)
    def put(self, port_id: str) -> Response:
        """Change a port."""
        given = body(schemas.PORT)["port"]
        if "binding:host_id" in given:
            policy.require("update_port:binding:host_id")
        more: dict[str, Any] = {}
        if "security_groups" in given:
            more["groups"] = given["security_groups"] or []
        if "fixed_ips" in given:
            more["address"] = values.wanted_address(given)
        caller = context.caller()
        with database.transaction() as session:
            now = networks.get(session, caller, Port, port_id)
            columns = _columns(given, now.mac)
            if "mac_address" in given and values.mac(given["mac_address"]) != now.mac:
                columns["mac"] = values.mac(given["mac_address"])
            if _same_address(now, more.get("address")):
                more.pop("address")
            network = networks.get(session, caller, Network, now.network_id)
            _check_owner(network, "update", columns)
            found = ports.change(session, caller, port_id, columns, more)
            shown = _views(session, [found])
        return answer({"port": shown[0]})

    def delete(self, port_id: str) -> Response:
        """Remove a port that nothing uses."""
        with database.transaction() as session:
            ports.remove(session, context.caller(), port_id)
        return nothing()


def _check_owner(network: Network, verb: str, columns: Iterable[str]) -> None:
    """Raise Forbidden for what would harm other projects' guests on a shared network."""
    for column in columns:
        if name := _OWNERS_ONLY.get(column):
            rule = f"{verb}_port:{name}"
            policy.require(rule, **{"network:project_id": network.project_id})


def _same_address(port: Port, wanted: Any) -> bool:
    """Whether what is asked for is what the port has."""
    return (
        wanted is not None
        and port.address is not None
        and wanted.address in (None, port.address)
        and wanted.subnet_id in (None, port.subnet_id)
        and (wanted.address, wanted.subnet_id) != (None, None)
    )


def _views(session: Session, found: list[Port]) -> list[dict[str, Any]]:
    facts, seen = networks.port_facts(session, found), views.bound()
    groups = networks.groups_of(session, found)
    return [views.port(row, facts, groups.get(row.id, []), seen) for row in found]


def _columns(given: dict[str, Any], own_mac: str) -> dict[str, Any]:
    columns = chosen_columns(given, _WRITABLE)
    for name in ("admin_state_up", "port_security_enabled"):
        if name in columns:
            columns[name] = is_true(columns[name])
    if "host_id" in columns:
        columns["host_id"] = columns["host_id"] or ""
    if "allowed_address_pairs" in given:
        columns["address_pairs"] = values.pairs(given["allowed_address_pairs"], own_mac)
    return columns
