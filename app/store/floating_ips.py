"""Floating addresses: of an external network, for one port at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.errors import Conflict, Invalid, NotFound
from app.models import FloatingIp, Network, Port, Router, new_id
from app.store import addresses, host_networking, network_quotas, networks
from app.store.addresses import Wanted
from app.store.host_networking import INTERFACE

OWNER = "network:floatingip"


def add(session: Session, caller: Caller, values: Mapping[str, Any]) -> FloatingIp:
    """A new address of the external network in `values`, which may have a port, an address and a
    subnet of choice. Raises Conflict when there is none, or over the quota."""
    network = networks.get(session, caller, Network, values["network_id"])
    if not network.external:
        raise Invalid(
            f"Bad floatingip request: Network {network.id} is not a valid external network.",
            code="BadRequest",
        )
    chosen = values.get("address")
    network_quotas.check(session, values["project_id"], "floatingip", FloatingIp)
    subnet, address = _free(session, network.id, Wanted(chosen, values.get("subnet_id")))
    row = FloatingIp(
        id=new_id(),
        project_id=values["project_id"],
        network_id=network.id,
        address=address,
        description=values.get("description", ""),
    )
    if values.get("port_id"):
        _hold_port(session, values["port_id"])
    session.add(row)
    session.add(
        Port(
            project_id="",
            network_id=network.id,
            subnet_id=subnet,
            address=address,
            own=False,
            mac=addresses.new_mac(),
            device_id=row.id,
            device_owner=OWNER,
            port_security_enabled=False,
        )
    )
    session.flush()
    if values.get("port_id"):
        _give(session, caller, row, values["port_id"], values.get("fixed"))
    session.refresh(row)
    return row


def _free(session: Session, network_id: str, wanted: Wanted) -> tuple[str, str]:
    try:
        subnet, address = addresses.take(session, network_id, wanted)
    except Conflict as error:
        if error.code == "bad_address":
            raise Invalid(
                f"IP address {wanted.address} is not a valid IP for any of the subnets on the "
                "specified network.",
                code="InvalidIpForNetwork",
            ) from error
        raise Conflict(
            f"No more IP addresses available on network {network_id}.",
            code="IpAddressGenerationFailure",
        ) from error
    return subnet.id, address


def change(
    session: Session, caller: Caller, floating_id: str, values: Mapping[str, Any]
) -> FloatingIp:
    """Give the address to a port (`port_id`), take it away (None), or describe it."""
    if values.get("port_id"):
        _hold_port(session, values["port_id"])
    row = _held(session, caller, floating_id)
    if "description" in values:
        row.description = values["description"]
    if "port_id" in values:
        if values["port_id"] is None:
            take_away(session, row)
        else:
            _give(session, caller, row, values["port_id"], values.get("fixed"))
    session.flush()
    session.refresh(row)
    return row


def remove(session: Session, caller: Caller, floating_id: str) -> None:
    """Give the address back."""
    row = _held(session, caller, floating_id)
    take_away(session, row)
    session.execute(delete(Port).where(Port.device_id == row.id, Port.device_owner == OWNER))
    session.delete(row)
    session.flush()


def _held(session: Session, caller: Caller, floating_id: str) -> FloatingIp:
    found = networks.get(session, caller, FloatingIp, floating_id)
    session.execute(select(FloatingIp.id).where(FloatingIp.id == found.id).with_for_update())
    session.refresh(found)
    return found


def _hold_port(session: Session, port_id: str) -> None:
    """Lock a port before any address that is to stand for it, in the order of a port's removal."""
    session.execute(select(Port.id).where(Port.id == port_id).with_for_update())


def take_away(session: Session, row: FloatingIp) -> None:
    """Let the address stand for no port."""
    if row.port_id is None:
        return
    concerned = host_networking.of_ports(session, [row.port_id])
    row.port_id, row.router_id = None, None
    session.flush()
    host_networking.touch(session, concerned)


def _give(
    session: Session, caller: Caller, row: FloatingIp, port_id: str, fixed: str | None
) -> None:
    port = networks.get(session, caller, Port, port_id)
    if port.address is None or (fixed is not None and fixed != port.address):
        raise Invalid(
            f"Bad floatingip request: Port {port.id} does not have fixed ip "
            f"{fixed or 'addresses'}.",
            code="BadRequest",
        )
    other = session.scalars(
        select(FloatingIp).where(FloatingIp.port_id == port.id, FloatingIp.id != row.id)
    ).first()
    if other is not None:
        raise Conflict(
            f"Cannot associate floating IP {row.address} ({row.id}) with port {port.id} using "
            f"fixed IP {port.address}, as that fixed IP already has a floating IP on external "
            f"network {other.network_id}.",
            code="FloatingIPPortAlreadyAssociated",
        )
    before = [row.port_id] if row.port_id else []
    row.router_id = _router(session, row, port)
    row.port_id = port.id
    session.flush()
    concerned = host_networking.of_ports(session, [port.id, *before])
    host_networking.touch(session, concerned)


def _router(session: Session, row: FloatingIp, port: Port) -> str | None:
    """The router that leads the port to the address' network; none is needed where hosts lead
    out by themselves. Raises NotFound when there is no way."""
    query = (
        select(Router.id)
        .join(Port, Port.device_id == Router.id)
        .where(
            Port.device_owner == INTERFACE,
            Port.subnet_id == port.subnet_id,
            Router.external_network_id == row.network_id,
        )
    )
    found = session.scalars(query).first()
    if found is not None:
        return found
    if session.get_one(Network, port.network_id).network_type == "nat":
        return None
    raise NotFound(
        f"External network {row.network_id} is not reachable from subnet {port.subnet_id}. "
        f"Therefore, cannot associate Port {port.id} with a Floating IP.",
        code="ExternalGatewayForFloatingIPNotFound",
    )
