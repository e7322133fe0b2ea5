"""Routers: which networks lead to each other, and out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.errors import Conflict, Invalid, NotFound
from app.models import FloatingIp, Network, Port, Router, Subnet, new_id
from app.store import addresses, host_networking, network_quotas, networks, ports
from app.store.host_networking import INTERFACE

GATEWAY = "network:router_gateway"


def add(session: Session, caller: Caller, values: Mapping[str, Any], gateway: Any) -> Router:
    """A new router; `gateway` is None or Neutron's external_gateway_info."""
    network_quotas.check(session, values["project_id"], "router", Router)
    router = Router(id=new_id(), **values)
    session.add(router)
    session.flush()
    if gateway:
        _lead_out(session, caller, router, gateway)
    session.refresh(router)
    return router


def change(
    session: Session, caller: Caller, router_id: str, values: Mapping[str, Any], **gateway: Any
) -> Router:
    """Change a router; `gateway` (a keyword) gives or takes its way out."""
    router = _held(session, caller, router_id)
    for name, value in values.items():
        setattr(router, name, value)
    if "gateway" in gateway:
        given = gateway["gateway"]
        if not given or given["network_id"] != router.external_network_id:
            _close(session, router)
        if given:
            _lead_out(session, caller, router, given)
    session.flush()
    _tell(session, router)
    session.refresh(router)
    return router


def remove(session: Session, caller: Caller, router_id: str) -> None:
    """Remove a router. Raises Conflict while it has interfaces."""
    router = _held(session, caller, router_id)
    if subnets(session, router.id):
        raise Conflict(f"Router {router.id} still has ports", code="RouterInUse")
    _close(session, router)
    session.delete(router)
    session.flush()


def _held(session: Session, caller: Caller, router_id: str) -> Router:
    found = networks.get(session, caller, Router, router_id)
    session.execute(select(Router.id).where(Router.id == found.id).with_for_update())
    session.refresh(found)
    return found


def _lead_out(session: Session, caller: Caller, router: Router, gateway: Any) -> None:
    network = networks.get(session, caller, Network, gateway["network_id"])
    if not network.external:
        raise Invalid(
            f"Bad router request: Network {network.id} is not an external network.",
            code="BadRequest",
        )
    router.enable_snat = gateway.get("enable_snat", True)
    if router.external_network_id == network.id:
        return
    router.external_network_id = network.id
    try:
        subnet, address = addresses.take(session, network.id)
        place: dict[str, Any] = {"subnet_id": subnet.id, "address": address}
    except Conflict as error:
        if error.code != "no_subnet":
            raise Conflict(
                f"No more IP addresses available on network {network.id}.",
                code="IpAddressGenerationFailure",
            ) from error
        place = {}
    session.add(
        Port(
            project_id="",
            network_id=network.id,
            own=False,
            mac=addresses.new_mac(),
            device_id=router.id,
            device_owner=GATEWAY,
            port_security_enabled=False,
            **place,
        )
    )
    session.flush()


def _close(session: Session, router: Router) -> None:
    floating = select(FloatingIp.id).where(
        FloatingIp.router_id == router.id, FloatingIp.port_id.is_not(None)
    )
    if session.scalar(floating.limit(1)) is not None:
        raise Conflict(
            f"Gateway cannot be updated for router {router.id}, since a gateway to external "
            f"network {router.external_network_id} is required by one or more floating IPs.",
            code="RouterExternalGatewayInUseByFloatingIp",
        )
    session.execute(delete(Port).where(Port.device_id == router.id, Port.device_owner == GATEWAY))
    router.external_network_id = None
    session.flush()


def _tell(session: Session, router: Router) -> None:
    concerned = host_networking.of_subnets(session, subnets(session, router.id))
    host_networking.touch(session, concerned)


def subnets(session: Session, router_id: str) -> list[str]:
    """The subnets that a router has interfaces in."""
    query = select(Port.subnet_id).where(
        Port.device_id == router_id, Port.device_owner == INTERFACE, Port.subnet_id.is_not(None)
    )
    return [str(one) for one in session.scalars(query)]


def gateways(session: Session, routers: list[Router]) -> dict[str, Port]:
    """Each router's port on its external network."""
    query = select(Port).where(
        Port.device_id.in_([one.id for one in routers]), Port.device_owner == GATEWAY
    )
    return {port.device_id: port for port in session.scalars(query)}


def add_interface(
    session: Session, caller: Caller, router_id: str, given: Mapping[str, str]
) -> Port:
    """Lead a subnet (at its gateway's address) or a port's, as `subnet_id` or `port_id` says."""
    router = _held(session, caller, router_id)
    if "port_id" in given:
        port = _free_port(session, caller, given["port_id"])
    else:
        port = _gateway_port(session, caller, router, given["subnet_id"])
    _check_single(session, router, str(port.subnet_id))
    port.device_id, port.device_owner = router.id, INTERFACE
    session.add(port)
    session.flush()
    _tell(session, router)
    return port


def _free_port(session: Session, caller: Caller, port_id: str) -> Port:
    port = ports.held(session, caller, port_id)
    if port.server_id is not None or port.device_id:
        raise Conflict(
            f"Unable to complete operation on port {port.id} for network {port.network_id}. Port "
            "already has an attached device.",
            code="PortInUse",
        )
    if port.subnet_id is None:
        raise Invalid(
            "Bad router request: Router port must have at least one fixed IP.", code="BadRequest"
        )
    _held_subnet(session, caller, port.subnet_id)
    return port


def _gateway_port(session: Session, caller: Caller, router: Router, subnet_id: str) -> Port:
    subnet = _held_subnet(session, caller, subnet_id)
    if subnet.gateway_ip is None:
        raise Invalid(
            "Bad router request: Subnet for router interface must have a gateway IP.",
            code="BadRequest",
        )
    taken = select(Port.id).where(Port.subnet_id == subnet.id, Port.address == subnet.gateway_ip)
    if session.scalar(taken) is not None:
        raise Conflict(
            f"IP address {subnet.gateway_ip} already allocated in subnet {subnet.id}",
            code="IpAddressAlreadyAllocated",
        )
    return Port(
        id=new_id(),
        project_id=router.project_id,
        network_id=subnet.network_id,
        subnet_id=subnet.id,
        address=subnet.gateway_ip,
        own=False,
        mac=addresses.new_mac(),
        port_security_enabled=False,
        device_id="",
        device_owner="",
    )


def _held_subnet(session: Session, caller: Caller, subnet_id: str) -> Subnet:
    """A subnet for a router to lead, locked until the end of the transaction.

    Raises Invalid for one that others share with the caller: it has one router for all of them,
    and theirs must not lead elsewhere.
    """
    subnet = networks.get(session, caller, Subnet, subnet_id)
    if not caller.is_admin and subnet.project_id != caller.project_id:
        raise Invalid(
            f"Bad router request: Subnet {subnet.id} is not owned by the project that asks.",
            code="BadRequest",
        )
    session.execute(select(Subnet.id).where(Subnet.id == subnet.id).with_for_update())
    session.refresh(subnet)
    return subnet


def _check_single(session: Session, router: Router, subnet_id: str) -> None:
    """One router for each subnet: hosts have one bridge for it."""
    query = select(Port.device_id).where(
        Port.subnet_id == subnet_id, Port.device_owner == INTERFACE
    )
    other = session.scalars(query).first()
    if other is not None:
        raise Invalid(
            f"Bad router request: {'Router' if other == router.id else 'Another router'} already "
            f"has a port on subnet {subnet_id}.",
            code="BadRequest",
        )


def remove_interface(
    session: Session, caller: Caller, router_id: str, given: Mapping[str, str]
) -> Port:
    """Lead a subnet no more. Raises NotFound for one that the router does not lead."""
    router = _held(session, caller, router_id)
    query = select(Port).where(Port.device_id == router.id, Port.device_owner == INTERFACE)
    if "port_id" in given:
        query = query.where(Port.id == given["port_id"])
    if "subnet_id" in given:
        query = query.where(Port.subnet_id == given["subnet_id"])
    port = session.scalars(query).first()
    if port is None:
        what = given.get("port_id") or given.get("subnet_id")
        raise NotFound(
            f"Router {router.id} does not have an interface with id {what}",
            code="RouterInterfaceNotFound",
        )
    used = (
        select(FloatingIp.id)
        .join(Port, Port.id == FloatingIp.port_id)
        .where(FloatingIp.router_id == router.id, Port.subnet_id == port.subnet_id)
    )
    if session.scalar(used.limit(1)) is not None:
        raise Conflict(
            f"Router interface for subnet {port.subnet_id} on router {router.id} cannot be "
            "deleted, as it is required by one or more floating IPs.",
            code="RouterInterfaceInUseByFloatingIP",
        )
    concerned = host_networking.of_subnets(session, [str(port.subnet_id)])
    session.delete(port)
    session.flush()
    host_networking.touch(session, concerned)
    return port
