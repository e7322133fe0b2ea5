"""MAC and IP addresses: allocated centrally, kept until the host let go of them."""

from __future__ import annotations

import ipaddress
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.models import Network, Port, Server, ServerNic, Subnet


def allocate(session: Session, wanted: Sequence[Server]) -> dict[str, Conflict]:
    """Give each server its ports, one for each NIC it asked for; those it has are kept.

    Answers the Conflict of each server that gets none: a subnet is full, or its address taken.
    """
    given = select(Port.server_id, Port.position)
    ids = [server.id for server in wanted]
    have = {(one, at) for one, at in session.execute(given.where(Port.server_id.in_(ids)))}
    asked: dict[str, list[ServerNic]] = {}
    nics = select(ServerNic).where(ServerNic.server_id.in_(ids)).order_by(ServerNic.position)
    for nic in session.scalars(nics):
        if (nic.server_id, nic.position) not in have:
            asked.setdefault(nic.server_id, []).append(nic)
    pools = _pools(session, {nic.network_id for some in asked.values() for nic in some})
    failed: dict[str, Conflict] = {}
    ports: list[Port] = []
    for server in wanted:
        try:
            ports += _ports(server, asked.get(server.id, []), pools)
        except Conflict as error:
            failed[server.id] = error
    _name_macs(session, ports)
    session.add_all(ports)
    session.flush()
    return failed


def add(session: Session, server: Server, network_id: str, fixed_ip: str | None) -> Port:
    """Give the server one more port. Raises the Conflict that `allocate` answers."""
    last = session.scalar(select(func.max(Port.position)).where(Port.server_id == server.id))
    position = 0 if last is None else last + 1
    wanted = ServerNic(server_id=server.id, position=position, network_id=network_id)
    wanted.fixed_ip = fixed_ip
    session.merge(wanted)
    session.flush()
    failed = allocate(session, [server])
    if failed:
        raise failed[server.id]
    return session.scalars(
        select(Port).where(Port.server_id == server.id, Port.position == position)
    ).one()


def remove(session: Session, server_id: str, port_id: str) -> None:
    """Forget one of the server's ports, and that it was asked for; nothing when it has it not."""
    mine = (Port.id == port_id, Port.server_id == server_id)
    position = session.scalar(select(Port.position).where(*mine))
    session.execute(delete(Port).where(*mine))
    session.execute(
        delete(ServerNic).where(ServerNic.server_id == server_id, ServerNic.position == position)
    )


def release(session: Session, server_id: str) -> None:
    """Forget the server's ports."""
    session.execute(delete(Port).where(Port.server_id == server_id))


def of_server(session: Session, server_id: str) -> list[tuple[Port, Subnet, Network]]:
    """The server's ports in order, with what a build plan needs of subnet and network."""
    ahead: dict[str, list[tuple[Port, Subnet, Network]]] = session.info.get(_AHEAD, {})
    if server_id in ahead:
        return ahead[server_id]
    return _of_servers(session, [server_id]).get(server_id, [])


def look_ahead(session: Session, server_ids: Sequence[str]) -> None:
    """Read at once what `of_server` will be asked for; for a session that only reads."""
    found = _of_servers(session, server_ids)
    session.info[_AHEAD] = {one: found.get(one, []) for one in server_ids}


def _of_servers(
    session: Session, server_ids: Sequence[str]
) -> dict[str, list[tuple[Port, Subnet, Network]]]:
    rows = session.execute(
        select(Port, Subnet, Network)
        .join(Subnet, Subnet.id == Port.subnet_id)
        .join(Network, Network.id == Port.network_id)
        .where(Port.server_id.in_(server_ids))
        .order_by(Port.position)
    )
    found: dict[str, list[tuple[Port, Subnet, Network]]] = {}
    for port, subnet, network in rows:
        found.setdefault(str(port.server_id), []).append((port, subnet, network))
    return found


_AHEAD = "ports of servers"


@dataclass
class _Pool:
    """A locked subnet, and which of its addresses are taken as far as anybody asked."""

    session: Session
    subnet: Subnet
    taken: set[str] = field(default_factory=set)
    looked: set[str] = field(default_factory=set)

    def take(self, wanted: str | None) -> str:
        """That address, or the next free one; raises Conflict when there is none."""
        address = self._next() if wanted is None else self._checked(wanted)
        self.taken.add(address)
        return address

    def _checked(self, address: str) -> str:
        if ipaddress.ip_address(address) not in ipaddress.ip_network(self.subnet.cidr):
            raise Conflict(f"address {address} is not in {self.subnet.cidr}", code="bad_address")
        self._look([address])
        if address == self.subnet.gateway_ip or address in self.taken:
            raise Conflict(f"address {address} is in use", code="address_in_use")
        return address

    def _next(self) -> str:
        """The first free address at or after the subnet's rotating offset: late reuse, no scan."""
        subnet = self.subnet
        start = int(ipaddress.IPv4Address(subnet.pool_start))
        size = int(ipaddress.IPv4Address(subnet.pool_end)) - start + 1
        for step in range(size):
            offset = (subnet.next_offset + step) % size
            text = str(ipaddress.IPv4Address(start + offset))
            if text not in self.looked:
                ahead = range(offset, min(offset + 256, size))
                self._look([str(ipaddress.IPv4Address(start + one)) for one in ahead])
            if text not in self.taken:
                subnet.next_offset = (offset + 1) % size
                return text
        raise Conflict(f"subnet {subnet.cidr} has no free address", code="no_address")

    def _look(self, addresses: Sequence[str]) -> None:
        known = select(Port.address).where(Port.subnet_id == self.subnet.id)
        self.taken |= set(self.session.scalars(known.where(Port.address.in_(addresses))))
        self.looked |= set(addresses)


def _pools(session: Session, network_ids: set[str]) -> dict[str, _Pool]:
    """The subnet of each network, locked in one order."""
    subnets = session.scalars(
        select(Subnet)
        .where(Subnet.network_id.in_(network_ids))
        .order_by(Subnet.network_id, Subnet.id)
        .with_for_update()
    )
    found: dict[str, _Pool] = {}
    for subnet in subnets:
        found.setdefault(subnet.network_id, _Pool(session, subnet))
    return found


def _ports(server: Server, nics: Sequence[ServerNic], pools: dict[str, _Pool]) -> list[Port]:
    """The server's new ports, their addresses taken from the pools; none when one cannot be."""
    made: list[Port] = []
    try:
        for nic in nics:
            pool = pools.get(nic.network_id)
            if pool is None:
                raise Conflict(f"network {nic.network_id} has no subnet", code="no_subnet")
            made.append(
                Port(
                    project_id=server.project_id,
                    network_id=nic.network_id,
                    subnet_id=pool.subnet.id,
                    server_id=server.id,
                    position=nic.position,
                    address=pool.take(nic.fixed_ip),
                )
            )
    except Conflict:
        for port in made:
            pools[port.network_id].taken.discard(port.address)
        raise
    return made


def _name_macs(session: Session, ports: Sequence[Port]) -> None:
    """A MAC for each port that no other port of its network has."""
    nameless = list(ports)
    while nameless:
        for port in nameless:
            port.mac = _new_mac()
        macs = [port.mac for port in nameless]
        taken = set(session.execute(select(Port.network_id, Port.mac).where(Port.mac.in_(macs))))
        twice = Counter((port.network_id, port.mac) for port in ports)
        nameless = [
            port
            for port in nameless
            if (port.network_id, port.mac) in taken or twice[port.network_id, port.mac] > 1
        ]


def _new_mac() -> str:
    """A random address under the prefix that OpenStack uses for guests."""
    return "fa:16:3e:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
