"""Which networks and ports a new server may have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.domain.new_servers import WantedNic
from app.errors import Conflict, Invalid
from app.models import Network, Port, Subnet
from app.store.addresses import holds
from app.store.database import changed
from app.store.networks import visible


def default_nics(session: Session, caller: Caller) -> tuple[WantedNic, ...]:
    """The network that a create means when it names none: the project's default, or the shared.

    Raises Conflict when there are several to choose from and none is the default.
    """
    query = select(Network.id, Network.project_id, Network.is_default).where(
        or_(Network.project_id == caller.project_id, Network.shared), ~Network.external
    )
    rows = list(session.execute(query.order_by(Network.created_at, Network.id)))
    own = [row.id for row in rows if row.project_id == caller.project_id]
    marked = [row.id for row in rows if row.is_default]
    preferred = [one for one in marked if one in own] or marked or own
    if not preferred:
        return ()
    if len(preferred) > 1 and not marked:
        raise Conflict(
            "Multiple possible networks found, use a Network ID to be more specific.",
            code="ambiguous_network",
        )
    return (WantedNic(network_id=preferred[0]),)


def check(session: Session, caller: Caller, nics: Sequence[WantedNic]) -> tuple[WantedNic, ...]:
    """The same with the networks of given ports filled in.

    Raises Invalid when a network or port is not the caller's to use, or an address is not in it
    or is another's; Conflict for a port that is in use.
    """
    nics = _with_ports(session, caller, nics)
    wanted = {nic.network_id for nic in nics}
    query = select(Network.id, Network.external).where(visible(caller), Network.id.in_(wanted))
    seen = {row.id: row.external for row in session.execute(query)}
    if missing := sorted(wanted - set(seen)):
        raise Invalid(f"Network {missing[0]} could not be found.", code="network_not_found")
    outside = [nic for nic in nics if seen[nic.network_id] and nic.port_id is None]
    if outside:
        raise Invalid(
            f"It is not allowed to create an interface on external network {outside[0].network_id}",
            code="external_network",
        )
    subnets: dict[str, list[Subnet]] = {}
    for subnet in session.scalars(select(Subnet).where(Subnet.network_id.in_(wanted))):
        subnets.setdefault(subnet.network_id, []).append(subnet)
    for nic in nics:
        if nic.port_id is None:
            _room(session, nic, subnets.get(nic.network_id, []))
    return tuple(nics)


def _room(session: Session, nic: WantedNic, subnets: Sequence[Subnet]) -> None:
    if not subnets:
        raise Invalid(
            f"Network {nic.network_id} requires a subnet in order to boot instances on.",
            code="no_subnet",
        )
    if not nic.fixed_ip:
        return
    for subnet in subnets:
        if holds(subnet, nic.fixed_ip):
            taken = select(Port.id).where(Port.subnet_id == subnet.id, Port.address == nic.fixed_ip)
            if nic.fixed_ip == subnet.on_hosts or session.scalar(taken):
                raise Invalid(
                    f"Fixed IP address {nic.fixed_ip} is already in use on instance on network "
                    f"{nic.network_id}.",
                    code="address_in_use",
                )
            return
    raise Invalid(
        f"Fixed IP {nic.fixed_ip} is not in a subnet of network {nic.network_id}",
        code="address_outside",
    )


def _with_ports(session: Session, caller: Caller, nics: Sequence[WantedNic]) -> list[WantedNic]:
    wanted = [nic.port_id for nic in nics if nic.port_id]
    if len(set(wanted)) < len(wanted):
        raise Invalid("Invalid input for field server.networks: a port is there twice")
    query = select(Port).where(Port.id.in_(wanted))
    if not caller.is_admin:
        query = query.where(Port.project_id == caller.project_id)
    ports = {port.id: port for port in session.scalars(query)}
    found = []
    for at, nic in enumerate(nics):
        if nic.port_id is None:
            found.append(nic)
            continue
        port = ports.get(nic.port_id)
        if port is None:
            raise Invalid(
                f"Invalid input for field server.networks.{at}: Port id {nic.port_id} could not be "
                "found.",
                code="port_not_found",
            )
        check_free(port)
        found.append(WantedNic(port.network_id, port.address, port.id, nic.tag))
    return found


def check_free(port: Port) -> None:
    """Raises Conflict for a port that a server or a router has, Invalid for one without address."""
    if port.server_id is not None or port.device_id:
        raise Conflict(f"Port {port.id} is still in use.", code="port_in_use")
    if port.address is None:
        raise Invalid(
            f"Port {port.id} requires a FixedIP in order to be used.", code="port_without_address"
        )


def bind(session: Session, server_id: str, nics: Sequence[WantedNic], first: int = 0) -> None:
    """Give the server the ports that it brings, the first NIC at position `first`.

    Raises Conflict when another was faster.
    """
    for position, nic in enumerate(nics, first):
        if nic.port_id is None:
            continue
        values: dict[str, Any] = {"server_id": server_id, "position": position, "own": False}
        taken = (
            update(Port)
            .where(Port.id == nic.port_id, Port.server_id.is_(None), Port.device_id == "")
            .values(**values, tag=nic.tag)
        )
        if changed(session, taken) == 0:
            raise Conflict(f"Port {nic.port_id} is still in use.", code="port_in_use")
