"""A server's interfaces: listed, plugged in, taken out."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.domain.new_servers import WantedNic
from app.errors import Conflict, Invalid, NotFound
from app.models import Port, Subnet
from app.store import interfaces, networks, server_networks
from app.store.database import reading
from app.web import context
from app.web.accepting import Accepted, accept
from app.web.answers import answer
from app.web.api import Route, documented
from app.web.body import body
from app.web.compute import schemas
from app.web.compute.new_server import ip_address
from app.web.compute.versions import ns
from app.web.policy import require
from app.web.shapes import in_servers as shapes
from app.web.shapes.parts import NOTHING

_RULE = "os_compute_api:os-attach-interfaces"
_FULL = ("address_in_use", "bad_address", "no_address", "no_subnet")
_FIELD = "interfaceAttachment"


def _shown(port: Port, subnet: Subnet, plugged: bool) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "port_state": "ACTIVE" if plugged else "BUILD",
        "fixed_ips": [{"subnet_id": subnet.id, "ip_address": port.address}],
        "port_id": port.id,
        "net_id": port.network_id,
        "mac_addr": port.mac,
    }
    return shown | ({"tag": None} if context.version() >= (2, 70) else {})


@ns.route("/v2.1/servers/<server_id>/os-interface")
class ServerInterfaces(Route):
    shows = {"get": shapes.INTERFACES, "post": shapes.ONE_INTERFACE}
    policy = {"get": f"{_RULE}:list", "post": f"{_RULE}:create"}
    needs = {"get": ("get_port",)}
    asks = {"post": ("create_port", "update_port")}

    def get(self, server_id: str) -> Response:
        """List a server's interfaces."""
        with reading() as session:
            found = interfaces.of_server(session, context.caller(), server_id)
        return answer({"interfaceAttachments": [_shown(*one) for one in found]})

    @documented(ns, schemas.INTERFACE)
    def post(self, server_id: str) -> Response:
        """Give a server one more interface; it is ACTIVE once its host has plugged it in."""
        wanted = body(schemas.interface(context.version())).get(_FIELD) or {}
        _check(wanted)
        require("update_port" if wanted.get("port_id") else "create_port")

        def work(session: Session) -> Accepted:
            caller = context.caller()
            nics = _nics(session, caller, wanted)
            try:
                action, port, subnet = interfaces.attach(session, caller, server_id, nics)
            except Conflict as error:
                if error.code in _FULL:  # Nova's word for them
                    raise Invalid(error.message, code=error.code) from error
                raise
            made = {_FIELD: _shown(port, subnet, plugged=False)}
            return Accepted([action], 200, orjson.dumps(made))

        return accept(work)


def _check(wanted: dict[str, Any]) -> None:
    if wanted.get("net_id") and wanted.get("port_id"):
        raise Invalid(f"Invalid input for field {_FIELD}: give net_id or port_id, not both")
    if wanted.get("fixed_ips") and not wanted.get("net_id"):
        raise Invalid(f"Invalid input for field {_FIELD}.fixed_ips: needs net_id as well")
    if wanted.get("tag"):
        raise Invalid(f"Invalid input for field {_FIELD}.tag: guests are told no tags here")


def _port(session: Session, caller: Caller, port_id: str) -> WantedNic:
    """A port that is there. Raises NotFound, and Invalid for one that is in use."""
    try:
        found = networks.get(session, caller, Port, port_id)
        server_networks.check_free(found)
    except NotFound as error:
        raise NotFound(f"Port id {port_id} could not be found.") from error
    except Conflict as error:
        raise Invalid(error.message) from error
    return WantedNic(found.network_id, found.address, found.id)


def _nics(session: Session, caller: Caller, wanted: dict[str, Any]) -> tuple[WantedNic, ...]:
    if wanted.get("port_id"):
        return (_port(session, caller, wanted["port_id"]),)
    if not wanted.get("net_id"):
        found = server_networks.default_nics(session, caller)
        if not found:
            raise Invalid("No network is there to attach an interface in: give its net_id")
        return found
    interfaces.network_named(session, caller, wanted["net_id"])
    given = [one["ip_address"] for one in wanted.get("fixed_ips", ())]
    where = f"{_FIELD}.fixed_ips.0.ip_address"
    nic = WantedNic(wanted["net_id"], ip_address(given[0], where, 4) if given else None)
    return server_networks.check(session, caller, [nic])


@ns.route("/v2.1/servers/<server_id>/os-interface/<port_id>")
class ServerInterface(Route):
    shows = {"get": shapes.ONE_INTERFACE, "delete": NOTHING}
    policy = {"get": f"{_RULE}:show", "delete": f"{_RULE}:delete"}
    needs = {"get": ("get_port",), "delete": ("delete_port",)}
    answers = {"delete": (202,)}

    def get(self, server_id: str, port_id: str) -> Response:
        """Show one of a server's interfaces."""
        with reading() as session:
            found = interfaces.of_server(session, context.caller(), server_id)
        for port, subnet, plugged in found:
            if port.id == port_id:
                return answer({_FIELD: _shown(port, subnet, plugged)})
        raise NotFound(f"Instance {server_id} does not have a port with id {port_id}.")

    def delete(self, server_id: str, port_id: str) -> Response:
        """Take an interface out of a server; its address is free once its host has done so."""

        def work(session: Session) -> Accepted:
            action = interfaces.detach(session, context.caller(), server_id, port_id)
            return Accepted([action], 202)

        return accept(work)
