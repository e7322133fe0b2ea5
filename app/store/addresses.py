"""MAC and IP addresses: allocated centrally, kept until the host let go of them."""

from __future__ import annotations

import ipaddress
import secrets
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.orm import Session

from app.errors import Conflict
from app.models import Network, Port, PortGroup, Server, ServerNic, ServerSecurityGroup, Subnet

WINDOW = 256
"""So many addresses are looked at in one query."""


@dataclass(frozen=True)
class Wanted:
    """An address of one's choice, of any subnet or of one; None is any."""

    address: str | None = None
    subnet_id: str | None = None


ANY = Wanted()


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
    _guard(session, ports)
    return failed


def add(session: Session, server: Server, network_id: str, fixed_ip: str | None) -> Port:
    """Give the server one more port. Raises the Conflict that `allocate` answers."""
    position = next_position(session, server.id)
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


def next_position(session: Session, server_id: str) -> int:
    """The place of one more port."""
    last = session.scalar(select(func.max(Port.position)).where(Port.server_id == server_id))
    return 0 if last is None else last + 1


def remove(session: Session, server_id: str, port_id: str) -> None:
    """Forget one of the server's ports, or free one that it brought, and that it was asked for;
    nothing when it has it not."""
    mine = (Port.id == port_id, Port.server_id == server_id)
    position = session.scalar(select(Port.position).where(*mine))
    session.execute(delete(Port).where(*mine, Port.own))
    session.execute(update(Port).where(*mine).values(server_id=None, position=0))
    session.execute(
        delete(ServerNic).where(ServerNic.server_id == server_id, ServerNic.position == position)
    )


def _guard(session: Session, ports: Sequence[Port]) -> None:
    """Keep new ports, each in the groups of its server unless its network has none."""
    if not ports:
        return
    query = select(Network.id).where(
        Network.id.in_({port.network_id for port in ports}), Network.port_security_enabled
    )
    secured = set(session.scalars(query))
    for port in ports:
        port.port_security_enabled = port.network_id in secured
    session.add_all(ports)
    session.flush()
    groups: dict[str, list[str]] = {}
    asked = select(ServerSecurityGroup.server_id, ServerSecurityGroup.group_id).where(
        ServerSecurityGroup.server_id.in_({port.server_id for port in ports})
    )
    for server_id, group_id in session.execute(asked):
        groups.setdefault(server_id, []).append(group_id)
    rows = [
        {"port_id": port.id, "group_id": group}
        for port in ports
        if port.port_security_enabled
        for group in groups.get(port.server_id or "", ())
    ]
    if rows:
        session.execute(insert(PortGroup), rows)


def release(session: Session, server_id: str) -> None:
    """Forget the ports that were made for the server; those that it brought are still its."""
    session.execute(delete(Port).where(Port.server_id == server_id, Port.own))


def let_go(session: Session, server_id: str) -> None:
    """The server is gone: forget the ports made for it, and free those that it brought."""
    release(session, server_id)
    session.execute(
        update(Port).where(Port.server_id == server_id).values(server_id=None, position=0)
    )


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


def take(session: Session, network_id: str, wanted: Wanted = ANY) -> tuple[Subnet, str]:
    """A free address of the network, or the wanted one; nobody else gets it before this ends.

    Raises Conflict when there is none: no_subnet, bad_address, address_in_use, no_address.
    """
    pools = _pools(session, {network_id}).get(network_id, [])
    if wanted.subnet_id is not None:
        pools = [pool for pool in pools if pool.subnet.id == wanted.subnet_id]
    pool, address = _taken(network_id, pools, wanted.address)
    return pool.subnet, address


def holds(subnet: Subnet, address: str) -> bool:
    """Whether the address is one of a host in the subnet: not the first, which names the network,
    nor the last, which means all."""
    net = ipaddress.IPv4Network(subnet.cidr)
    asked = ipaddress.ip_address(address)
    return isinstance(asked, ipaddress.IPv4Address) and net[0] < asked < net[-1]


@dataclass
class _Pool:
    """A locked subnet, and which of its addresses are taken as far as anybody asked."""

    session: Session
    subnet: Subnet
    taken: set[str] = field(default_factory=set)
    looked: set[str] = field(default_factory=set)
    is_full: bool = False

    def has(self, address: str) -> bool:
        """Whether the address is one that a port in the subnet may have."""
        return holds(self.subnet, address)

    def is_free(self, address: str) -> bool:
        """Whether nobody has the address."""
        self._look([address])
        return address != self.subnet.on_hosts and address not in self.taken

    def next(self) -> str | None:
        """The first free address at or after the subnet's rotating offset: late reuse, no scan.

        That there is none is found out once, however many servers ask.
        """
        if self.is_full:
            return None
        subnet = self.subnet
        ranges = [(_number(pool["start"]), _number(pool["end"])) for pool in subnet.pools]
        size = sum(end - start + 1 for start, end in ranges)
        for step in range(size):
            offset = (subnet.next_offset + step) % size
            text = _text(ranges, offset)
            if text not in self.looked:
                ahead = range(offset, min(offset + WINDOW, size))
                self._look([_text(ranges, one) for one in ahead])
            if text not in self.taken and text != subnet.on_hosts:
                subnet.next_offset = (offset + 1) % size
                return text
        self.is_full = True
        return None

    def give_back(self, address: str) -> None:
        """An address that was taken is not needed after all."""
        self.taken.discard(address)
        self.is_full = False

    def _look(self, addresses: Sequence[str]) -> None:
        known = select(Port.address).where(Port.subnet_id == self.subnet.id)
        found = self.session.scalars(known.where(Port.address.in_(addresses)))
        self.taken |= {str(address) for address in found}
        self.looked |= set(addresses)


def _text(ranges: Sequence[tuple[int, int]], offset: int) -> str:
    """The address at an offset into all ranges, one after the other."""
    for start, end in ranges:
        if offset <= end - start:
            return str(ipaddress.IPv4Address(start + offset))
        offset -= end - start + 1
    raise IndexError(offset)


def _number(address: str) -> int:
    return int(ipaddress.IPv4Address(address))


def _pools(session: Session, network_ids: Collection[str]) -> dict[str, list[_Pool]]:
    """The subnets of each network, locked in one order."""
    subnets = session.scalars(
        select(Subnet)
        .where(Subnet.network_id.in_(network_ids))
        .order_by(Subnet.network_id, Subnet.created_at, Subnet.id)
        .with_for_update()
    )
    found: dict[str, list[_Pool]] = {}
    for subnet in subnets:
        found.setdefault(subnet.network_id, []).append(_Pool(session, subnet))
    return found


def _taken(network_id: str, pools: Sequence[_Pool], wanted: str | None) -> tuple[_Pool, str]:
    """That address, or the next free one, taken; raises Conflict when there is none."""
    if not pools:
        raise Conflict(f"network {network_id} has no subnet", code="no_subnet")
    cidrs = ", ".join(pool.subnet.cidr for pool in pools)
    for pool in pools:
        if wanted is None:
            address = pool.next()
        elif not pool.has(wanted):
            continue
        elif pool.is_free(wanted):
            address = wanted
        else:
            raise Conflict(f"address {wanted} is in use", code="address_in_use")
        if address is not None:
            pool.taken.add(address)
            return pool, address
    if wanted is not None:
        raise Conflict(f"address {wanted} is not in {cidrs}", code="bad_address")
    raise Conflict(f"subnet {cidrs} has no free address", code="no_address")


def _ports(
    server: Server, nics: Sequence[ServerNic], pools: Mapping[str, list[_Pool]]
) -> list[Port]:
    """The server's new ports, their addresses taken from the pools; none when one cannot be."""
    made: list[Port] = []
    got: list[tuple[_Pool, str]] = []
    try:
        for nic in nics:
            pool, address = _taken(nic.network_id, pools.get(nic.network_id, ()), nic.fixed_ip)
            got.append((pool, address))
            made.append(
                Port(
                    project_id=server.project_id,
                    network_id=nic.network_id,
                    subnet_id=pool.subnet.id,
                    server_id=server.id,
                    position=nic.position,
                    tag=nic.tag,
                    address=address,
                )
            )
    except Conflict:
        for pool, address in got:
            pool.give_back(address)
        raise
    return made


def _name_macs(session: Session, ports: Sequence[Port]) -> None:
    """A MAC for each port that no other port of its network has."""
    nameless = list(ports)
    while nameless:
        for port in nameless:
            port.mac = new_mac()
        macs = [port.mac for port in nameless]
        taken = set(session.execute(select(Port.network_id, Port.mac).where(Port.mac.in_(macs))))
        twice = Counter((port.network_id, port.mac) for port in ports)
        nameless = [
            port
            for port in nameless
            if (port.network_id, port.mac) in taken or twice[port.network_id, port.mac] > 1
        ]


def new_mac() -> str:
    """A random address under the prefix that OpenStack uses for guests."""
    return "fa:16:3e:" + ":".join(f"{byte:02x}" for byte in secrets.token_bytes(3))
