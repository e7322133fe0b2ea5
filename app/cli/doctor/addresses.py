"""Addresses: ports against servers and subnets, and the hosts' DHCP entries against ports."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterator, Sequence
from functools import partial

from app.cli.doctor.evidence import Evidence
from app.cli.doctor.finding import Finding, Fix
from app.domain import states
from app.store.audit import addresses
from app.store.audit.addresses import PortRow
from app.tasks.board import Posting


def check(seen: Evidence) -> list[Finding]:
    """Every port, every interface, and what the hosts' DHCP servers hand out."""
    found: list[Finding] = []
    for port in seen.rows.ports:
        found += [*_owner(seen, port), *_place(port)]
    found += [*_doubles(seen.rows.ports), *_dhcp(seen)]
    for server_id, position, host in seen.rows.portless:
        text = f"is on host {host} without a port for its interface {position}: it has no address"
        todo = "whatever address its guest uses may be given to another: delete and create it again"
        found.append(Finding("no_port", f"server {server_id}", text, todo))
    found += _hosts(seen.rows.hosts_inside)
    return found


def _hosts(inside: Sequence[tuple[str, str, str, str]]) -> Iterator[Finding]:
    for host, address, subnet, cidr in inside:
        text = (
            f"its address {address} is in subnet {subnet} ({cidr}), which hosts route to a bridge"
        )
        todo = "remove that subnet, or give the host another address; see reserved_networks"
        yield Finding("host_in_subnet", f"host {host}", text, todo)


def _owner(seen: Evidence, port: PortRow) -> Iterator[Finding]:
    subject = f"port {port.id} ({port.address})"
    if port.server_id is None:
        fix = Fix("removes it", partial(addresses.drop, port_id=port.id))
        yield Finding("port_of_nobody", subject, "belongs to no server", "let --fix do it", fix)
    elif port.gone and not port.owed:
        text = f"is kept for server {port.server_id}, which is deleted, and no host owes a cleanup"
        shown = [host for host, posting, _ in seen.compared() if _shows(posting, port.server_id)]
        if shown:
            todo = f"what host {', '.join(shown)} still has of it goes first"
            yield Finding("port_of_deleted", subject, text, todo)
        else:
            fix = Fix("frees it", partial(addresses.release, server_id=port.server_id))
            yield Finding("port_of_deleted", subject, text, "let --fix free it", fix)


def _shows(posting: Posting, server_id: str) -> bool:
    return any(e.server_id == server_id for e in posting.guests) or any(
        left == server_id for left, _ in posting.leftovers
    )


def _place(port: PortRow) -> Iterator[Finding]:
    subject = f"port {port.id} ({port.address}) of server {port.server_id}"
    todo = "the guest cannot use it: delete the server and create it again"
    try:
        inside = ipaddress.ip_address(port.address) in ipaddress.ip_network(port.cidr)
    except ValueError:
        inside = False
    if port.subnet_network_id != port.network_id:
        text = f"is in network {port.network_id}, its subnet in {port.subnet_network_id}"
        yield Finding("port_network", subject, text, todo)
    elif not inside:
        text = f"its address is not in its subnet {port.cidr}"
        yield Finding("address_outside", subject, text, todo)
    elif port.address == port.gateway:
        yield Finding("address_is_gateway", subject, "it has its gateway's address", todo)


def _doubles(ports: Sequence[PortRow]) -> Iterator[Finding]:
    for what in ("mac", "address"):
        users: dict[tuple[str, str], list[str]] = defaultdict(list)
        for port in ports:
            value = getattr(port, what).lower()
            users[port.network_id, value].append(port.server_id or "nobody")
        for (network, value), servers in sorted(users.items()):
            if len(servers) > 1:
                text = f"servers {' and '.join(servers)} have it in network {network}"
                todo = "delete one of them, and create it again"
                yield Finding(f"double_{what}", f"{what} {value}", text, todo)


def _dhcp(seen: Evidence) -> Iterator[Finding]:
    wanted: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for port in seen.rows.ports:
        if port.dhcp:
            wanted[port.server_id or ""].add((port.mac.lower(), port.address))
    for host, posting, age in seen.compared():
        if posting.leases is None or not posting.complete:
            continue
        told: dict[str, set[tuple[str, str]]] = defaultdict(set)
        for server_id, mac, address in posting.leases:
            told[server_id].add((mac.lower(), address))
        guests = {entry.server_id for entry in posting.guests}
        for server in seen.rows.residents.values():
            lives = server.vm_state in states.WITH_GUEST and server.id in guests
            if server.host != host or not lives or not seen.left_alone(server.id, age):
                continue
            if told[server.id] != wanted[server.id]:
                text = (
                    f"its DHCP entries there are {_named(told[server.id])}, its ports "
                    f"{_named(wanted[server.id])}"
                )
                todo = "its guest gets a wrong address or none: a hard reboot writes them anew"
                yield Finding("dhcp_entries", f"server {server.id} on host {host}", text, todo)


def _named(entries: set[tuple[str, str]]) -> str:
    return ", ".join(f"{mac} {address}" for mac, address in sorted(entries)) or "none"
