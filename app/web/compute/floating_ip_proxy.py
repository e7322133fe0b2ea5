"""Floating addresses as Compute had them, to 2.35, and the actions about them, to 2.43."""

from __future__ import annotations

from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from app.errors import Conflict, Invalid, NotFound, OverQuota
from app.models import FloatingIp, Network, Port
from app.store import floating_ips, networks, servers
from app.store.database import reading, transaction
from app.store.networks import Listing
from app.web import context
from app.web.accepting import Accepted, accept, once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import parsed, raw
from app.web.compute import network_schemas
from app.web.compute.actions import asking, register
from app.web.compute.ranges import ADDRESSES, PROXIES
from app.web.compute.versions import ns
from app.web.microversions import before
from app.web.policy import require
from app.web.shapes import proxies as shapes
from app.web.shapes.parts import NOTHING

_RULE = "os_compute_api:os-floating-ips:"
_CHANGES = "update_floatingip"


def _pools(session: Session) -> list[Network]:
    wanted = Listing(filters={"external": [True]}, sort_key="name")
    return networks.listed(session, context.caller(), Network, wanted)


def _views(session: Session, found: list[FloatingIp]) -> list[dict[str, Any]]:
    pools = networks.by_id(session, Network, [one.network_id for one in found])
    ports = networks.by_id(session, Port, [one.port_id for one in found if one.port_id])
    shown = []
    for one in found:
        port = ports.get(one.port_id or "")
        shown.append(
            {
                "id": one.id,
                "ip": one.address,
                "pool": pools[one.network_id].name,
                "fixed_ip": port.address if port else None,
                "instance_id": port.server_id if port else None,
            }
        )
    return shown


@ns.route("/v2.1/os-floating-ip-pools")
class Pools(Route):
    shows = {"get": shapes.FLOATING_POOLS}
    versions = before(PROXIES, "get")
    policy = {"get": "os_compute_api:os-floating-ip-pools"}
    needs = {"get": ("get_network",)}

    def get(self) -> Response:
        """List the networks that have floating addresses."""
        with reading() as session:
            names = [one.name for one in _pools(session)]
        return answer({"floating_ip_pools": [{"name": name} for name in names]})


@ns.route("/v2.1/os-floating-ips")
class FloatingIps(Route):
    shows = {"get": shapes.FLOATING_IPS, "post": shapes.ONE_FLOATING_IP}
    versions = before(PROXIES, "get", "post")
    policy = {"get": f"{_RULE}list", "post": f"{_RULE}create"}
    needs = {"get": ("get_floatingip",), "post": ("create_floatingip",)}

    def get(self) -> Response:
        """List the project's floating addresses."""
        wanted = Listing(filters={"project_id": [context.caller().project_id]})
        with reading() as session:
            found = networks.listed(session, context.caller(), FloatingIp, wanted)
            shown = _views(session, found)
        return answer({"floating_ips": shown})

    @documented(ns, network_schemas.FLOATING)
    def post(self) -> Response:
        """Get a floating address, of a pool by name or id or of the first."""
        given = network_schemas.FLOATING.check(parsed() if raw() else {})
        pool = given.get("pool")

        def work(session: Session) -> Response:
            pools = [one for one in _pools(session) if pool in (None, one.name, one.id)]
            if not pools:
                raise NotFound(f"Floating IP pool {pool or ''} not found.")
            wanted = {"network_id": pools[0].id, "project_id": context.caller().project_id}
            try:
                made = floating_ips.add(session, context.caller(), wanted)
            except Conflict as error:
                if error.code == "OverQuota":
                    raise OverQuota(f"IP allocation over quota in pool {pools[0].name}.") from error
                raise NotFound("No more floating IPs available.") from error
            return answer({"floating_ip": _views(session, [made])[0]})

        return once(work)


@ns.route("/v2.1/os-floating-ips/<floatingip_id>")
class OneFloatingIp(Route):
    shows = {"get": shapes.ONE_FLOATING_IP, "delete": NOTHING}
    versions = before(PROXIES, "get", "delete")
    policy = {"get": f"{_RULE}show", "delete": f"{_RULE}delete"}
    needs = {"get": ("get_floatingip",), "delete": ("delete_floatingip",)}
    answers = {"delete": (202,)}

    def get(self, floatingip_id: str) -> Response:
        """Show a floating address."""
        with reading() as session:
            found = networks.get(session, context.caller(), FloatingIp, floatingip_id)
            shown = _views(session, [found])[0]
        return answer({"floating_ip": shown})

    def delete(self, floatingip_id: str) -> Response:
        """Give a floating address back."""
        with transaction() as session:
            floating_ips.remove(session, context.caller(), floatingip_id)
        return nothing(202)


def _by_address(session: Session, address: str) -> FloatingIp:
    wanted = Listing(filters={"address": [address]})
    found = networks.listed(session, context.caller(), FloatingIp, wanted)
    if not found:
        raise NotFound(f"floating IP not found for address {address}.")
    return found[0]


@register("addFloatingIp", f"{_RULE}add", network_schemas.ADD_FLOATING, until=ADDRESSES)
@asking(_CHANGES)
def add(server_id: str, value: Any) -> Response:
    """Let a floating address stand for a server; until 2.43."""
    require(_CHANGES)

    def work(session: Session) -> Accepted:
        caller = context.caller()
        servers.check_unlocked(caller, servers.hold(session, caller, server_id))
        floating = _by_address(session, value["address"])
        port = _port(session, server_id, value.get("fixed_address"))
        try:
            floating_ips.change(session, caller, floating.id, {"port_id": port.id})
        except (Conflict, NotFound) as error:
            raise Invalid(error.message) from error
        return Accepted([])

    return accept(work)


def _port(session: Session, server_id: str, address: str | None) -> Port:
    ports = networks.of_server(session, server_id)
    if not ports:
        raise Invalid("Instance has no fixed IPs to associate with a floating IP.")
    if address is None:
        return ports[0]
    for port in ports:
        if port.address == address:
            return port
    raise Invalid("Specified fixed address not assigned to instance")


@register("removeFloatingIp", f"{_RULE}remove", network_schemas.REMOVE_FLOATING, until=ADDRESSES)
@asking(_CHANGES)
def remove(server_id: str, value: Any) -> Response:
    """Take a floating address from a server; until 2.43."""
    require(_CHANGES)

    def work(session: Session) -> Accepted:
        caller = context.caller()
        servers.check_unlocked(caller, servers.hold(session, caller, server_id))
        floating = _by_address(session, value["address"])
        if floating.port_id not in {port.id for port in networks.of_server(session, server_id)}:
            raise Conflict(
                f"Floating IP {value['address']} is not associated with instance {server_id}."
            )
        floating_ips.change(session, caller, floating.id, {"port_id": None})
        return Accepted([])

    return accept(work)
