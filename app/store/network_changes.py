"""Making, changing and removing networks and subnets."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.errors import Conflict, Forbidden, Invalid
from app.models import Cloud, FloatingIp, Network, Port, Router, Server, ServerNic, Subnet, new_id
from app.store import host_networking, network_quotas, networks, reserved_networks

Pool = dict[str, str]


def add_network(session: Session, values: Mapping[str, Any]) -> Network:
    """A new network of the project in `values`. Raises Conflict over the quota."""
    network_quotas.check(session, values["project_id"], "network", Network)
    network = Network(id=new_id(), **values)
    session.add(network)
    session.flush()
    session.refresh(network)
    return network


def own_network(session: Session, caller: Caller, network_id: str) -> Network:
    """A network that the caller may change. Raises NotFound, and Forbidden for a shared one."""
    found = networks.get(session, caller, Network, network_id)
    if not caller.is_admin and found.project_id != caller.project_id:
        raise Forbidden("(rule:update_network) is disallowed by policy")
    caller.hold(found.id, found.project_id)
    return found


def change_network(
    session: Session, caller: Caller, network_id: str, values: Mapping[str, Any]
) -> Network:
    """Change a network. Raises Conflict when others use what would no longer be theirs to use."""
    found = own_network(session, caller, network_id)
    if found.shared and values.get("shared") is False:
        _check_unshared(session, found)
    if found.external and values.get("external") is False and _external_use(session, found.id):
        raise Conflict(
            f"External network {found.id} cannot be updated to be made non-external, since it has "
            "existing gateway ports.",
            code="ExternalNetworkInUse",
        )
    for name, value in values.items():
        setattr(found, name, value)
    session.flush()
    session.refresh(found)
    return found


def _check_unshared(session: Session, network: Network) -> None:
    others = select(Port.id).where(
        Port.network_id == network.id, Port.project_id.not_in([network.project_id, ""])
    )
    if session.scalar(others.limit(1)) is not None:
        raise Conflict(
            f"Unable to reconfigure sharing settings for network {network.id}. Multiple tenants "
            "are using it.",
            code="InvalidSharedSetting",
        )


def _external_use(session: Session, network_id: str) -> bool:
    floating = select(FloatingIp.id).where(FloatingIp.network_id == network_id)
    routers = select(Router.id).where(Router.external_network_id == network_id)
    return any(session.scalar(query.limit(1)) is not None for query in (floating, routers))


def remove_network(session: Session, caller: Caller, network_id: str) -> None:
    """Remove a network with its subnets. Raises Conflict while it has ports."""
    found = own_network(session, caller, network_id)
    session.execute(select(Subnet.id).where(Subnet.network_id == found.id).with_for_update())
    ports = select(Port.id).where(Port.network_id == found.id).limit(1)
    if session.scalar(ports) is not None or _wanted(session, found.id):
        raise Conflict(
            f"Unable to complete operation on network {found.id}. There are one or more ports "
            "still in use on the network.",
            code="NetworkInUse",
        )
    session.execute(delete(ServerNic).where(ServerNic.network_id == found.id))
    session.delete(found)
    session.flush()


def _wanted(session: Session, network_id: str) -> bool:
    """Whether a server is to have a port there that is still to be made."""
    query = (
        select(ServerNic.server_id)
        .join(Server, Server.id == ServerNic.server_id)
        .where(ServerNic.network_id == network_id, Server.deleted_at.is_(None))
    )
    return session.scalar(query.limit(1)) is not None


def add_subnet(
    session: Session,
    caller: Caller,
    values: Mapping[str, Any],
    reserved: Sequence[ipaddress.IPv4Network] = (),
) -> Subnet:
    """A new subnet of a network of the caller's.

    All subnets of the cloud are bridges of one machine: none may overlap with another, nor hold
    an address of a host's or of what is `reserved`. Raises Invalid when it would, Conflict over
    the quota.
    """
    network = own_network(session, caller, values["network_id"])
    network_quotas.check(session, network.project_id, "subnet", Subnet)
    session.execute(select(Cloud.id).with_for_update())  # one subnet after the other
    cidr = ipaddress.IPv4Network(values["cidr"])
    _check_overlap(session, cidr, network.id)
    _check_reserved(cidr, [*reserved, *reserved_networks.of_hosts(session)])
    first = select(Subnet.id).where(Subnet.network_id == network.id, Subnet.segment.is_(None))
    subnet = Subnet(id=new_id(), project_id=network.project_id, **values)
    if session.scalar(first) is not None:
        subnet.segment = subnet.id
    session.add(subnet)
    session.flush()
    session.refresh(subnet)
    return subnet


def _check_overlap(session: Session, cidr: ipaddress.IPv4Network, network_id: str) -> None:
    for known in session.scalars(select(Subnet.cidr)):
        if cidr.overlaps(ipaddress.ip_network(known)):
            raise Invalid(
                f"Invalid input for operation: Requested subnet with cidr: {cidr} for network: "
                f"{network_id} overlaps with another subnet.",
                code="InvalidInput",
            )


def _check_reserved(cidr: ipaddress.IPv4Network, reserved: Sequence[ipaddress.IPv4Network]) -> None:
    """Which addresses these are is the operator's to know."""
    if any(cidr.overlaps(one) for one in reserved):
        raise Invalid(
            f"Invalid input for field subnet.cidr: {cidr} overlaps with a network of the cloud's "
            "own.",
            code="InvalidInput",
        )


def own_subnet(session: Session, caller: Caller, subnet_id: str) -> Subnet:
    """A subnet that the caller may change. Raises NotFound, and Forbidden for a shared one."""
    found = networks.get(session, caller, Subnet, subnet_id)
    if not caller.is_admin and found.project_id != caller.project_id:
        raise Forbidden("(rule:update_subnet) is disallowed by policy")
    return found


def change_subnet(session: Session, subnet: Subnet, values: Mapping[str, Any]) -> Subnet:
    """Change a subnet; guests learn of it when they start. Raises Conflict for a gateway in use."""
    gateway = values.get("gateway_ip", subnet.gateway_ip)
    if gateway != subnet.gateway_ip:
        # Nobody takes the new address meanwhile.
        session.execute(select(Subnet.id).where(Subnet.id == subnet.id).with_for_update())
        _check_gateway(session, subnet, gateway)
    for name, value in values.items():
        setattr(subnet, name, value)
    session.flush()
    session.refresh(subnet)
    return subnet


def _check_gateway(session: Session, subnet: Subnet, gateway: str | None) -> None:
    if _has_guests(session, subnet) or _leads(session, subnet):
        raise Conflict(
            f"Gateway cannot be updated while ports use subnet {subnet.id}.",
            code="GatewayIpInUse",
        )
    theirs = select(Port.id).where(Port.subnet_id == subnet.id, Port.address == gateway)
    if (port := session.scalar(theirs)) is not None:
        raise Conflict(
            f"Gateway ip {gateway} cannot be set: it is the address of port {port}.",
            code="GatewayIpInUse",
        )


def _has_guests(session: Session, subnet: Subnet) -> bool:
    query = select(Port.id).where(Port.subnet_id == subnet.id, Port.server_id.is_not(None))
    return session.scalar(query.limit(1)) is not None


def _leads(session: Session, subnet: Subnet) -> bool:
    query = select(Port.id).where(
        Port.subnet_id == subnet.id, Port.device_owner == host_networking.INTERFACE
    )
    return session.scalar(query.limit(1)) is not None


def remove_subnet(session: Session, caller: Caller, subnet_id: str) -> None:
    """Remove a subnet. Raises Conflict while ports have addresses of it."""
    found = own_subnet(session, caller, subnet_id)
    session.execute(select(Subnet.id).where(Subnet.id == found.id).with_for_update())
    ports = select(Port.id).where(Port.subnet_id == found.id).limit(1)
    if session.scalar(ports) is not None or _wanted(session, found.network_id):
        raise Conflict(
            f"Unable to complete operation on subnet {found.id}: One or more ports have an IP "
            "allocation from this subnet.",
            code="SubnetInUse",
        )
    session.delete(found)
    session.flush()


def default_pools(cidr: ipaddress.IPv4Network, reserved: str | None) -> list[Pool]:
    """All addresses for guests but `reserved`, in one range or two."""
    first, last = int(cidr[1]), int(cidr[-2])
    if reserved is None or not first <= int(ipaddress.IPv4Address(reserved)) <= last:
        return [_pool(first, last)]
    middle = int(ipaddress.IPv4Address(reserved))
    ranges = ((first, middle - 1), (middle + 1, last))
    return [_pool(low, high) for low, high in ranges if low <= high]


def _pool(first: int, last: int) -> Pool:
    low, high = ipaddress.IPv4Address(first), ipaddress.IPv4Address(last)
    return {"start": str(low), "end": str(high)}


def in_pools(pools: Sequence[Pool], address: str) -> bool:
    """Whether an address is in one of the ranges."""
    given = ipaddress.IPv4Address(address)
    return any(
        ipaddress.IPv4Address(pool["start"]) <= given <= ipaddress.IPv4Address(pool["end"])
        for pool in pools
    )
