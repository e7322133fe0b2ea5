"""MAC and IP addresses: allocated centrally, kept until the host let go of them."""

from __future__ import annotations

import ipaddress
import secrets

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.models import Network, Port, Server, ServerNic, Subnet


def allocate(session: Session, server: Server) -> None:
    """Give the server its ports, one for each NIC it asked for; those it has are kept.

    Raises Conflict when a subnet is full or a wanted address is taken.
    """
    have = set(session.scalars(select(Port.position).where(Port.server_id == server.id)))
    nics = session.scalars(
        select(ServerNic).where(ServerNic.server_id == server.id).order_by(ServerNic.position)
    )
    for nic in nics:
        if nic.position in have:
            continue
        subnet = _locked_subnet(session, nic.network_id)
        address = _wanted(session, subnet, nic.fixed_ip) if nic.fixed_ip else _next(session, subnet)
        session.add(
            Port(
                project_id=server.project_id,
                network_id=nic.network_id,
                subnet_id=subnet.id,
                server_id=server.id,
                position=nic.position,
                mac=_new_mac(),
                address=address,
            )
        )
        session.flush()


def release(session: Session, server_id: str) -> None:
    """Forget the server's ports."""
    session.execute(delete(Port).where(Port.server_id == server_id))


def of_server(session: Session, server_id: str) -> list[tuple[Port, Subnet, Network]]:
    """The server's ports in order, with what a build plan needs of subnet and network."""
    rows = session.execute(
        select(Port, Subnet, Network)
        .join(Subnet, Subnet.id == Port.subnet_id)
        .join(Network, Network.id == Port.network_id)
        .where(Port.server_id == server_id)
        .order_by(Port.position)
    )
    return [(port, subnet, network) for port, subnet, network in rows]


def _locked_subnet(session: Session, network_id: str) -> Subnet:
    subnet = session.scalars(
        select(Subnet).where(Subnet.network_id == network_id).order_by(Subnet.id).with_for_update()
    ).first()
    if subnet is None:
        raise Conflict(f"network {network_id} has no subnet", code="no_subnet")
    return subnet


def _wanted(session: Session, subnet: Subnet, address: str) -> str:
    if ipaddress.ip_address(address) not in ipaddress.ip_network(subnet.cidr):
        raise Conflict(f"address {address} is not in {subnet.cidr}", code="bad_address")
    taken = select(Port.id).where(Port.subnet_id == subnet.id, Port.address == address)
    if address == subnet.gateway_ip or session.scalars(taken).first():
        raise Conflict(f"address {address} is in use", code="address_in_use")
    return address


def _next(session: Session, subnet: Subnet) -> str:
    """The first free address at or after the subnet's rotating offset: no scan, late reuse."""
    start = int(ipaddress.IPv4Address(subnet.pool_start))
    size = int(ipaddress.IPv4Address(subnet.pool_end)) - start + 1
    for window in range(0, size, 256):
        span = min(256, size - window)
        offsets = [(subnet.next_offset + window + step) % size for step in range(span)]
        texts = [str(ipaddress.IPv4Address(start + offset)) for offset in offsets]
        taken = set(
            session.scalars(
                select(Port.address).where(Port.subnet_id == subnet.id, Port.address.in_(texts))
            )
        )
        for offset, text in zip(offsets, texts, strict=True):
            if text not in taken:
                subnet.next_offset = (offset + 1) % size
                return text
    raise Conflict(f"subnet {subnet.cidr} has no free address", code="no_address")


def _new_mac() -> str:
    """A random address under the prefix that OpenStack uses for guests."""
    return "fa:16:3e:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
