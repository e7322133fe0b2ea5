"""Making, changing and removing ports that no server was asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.errors import Conflict, Forbidden, Invalid, NotFound
from app.models import Network, Port, SecurityGroup, Server, Subnet, new_id
from app.store import addresses, host_networking, network_quotas, networks, security_groups
from app.store.addresses import Wanted

ROUTERS = "network:router"
NETWORKS = "network:"
"""What the owners of the cloud's own devices, as routers, begin with."""
_TRIES = 5


def add(
    session: Session,
    caller: Caller,
    values: Mapping[str, Any],
    wanted: Wanted | None,
    groups: list[str] | None,
) -> Port:
    """A new port; `wanted` None is without address, `groups` None the project's default.

    Raises NotFound for a network or group that is not the caller's to use, Conflict for a MAC or
    address that is taken, or over the quota.
    """
    network = networks.get(session, caller, Network, values["network_id"])
    if network.external and not caller.is_admin and network.project_id != caller.project_id:
        raise Forbidden("(rule:create_port) is disallowed by policy")
    project = values["project_id"]
    network_quotas.check(session, project, "port", Port)
    secured = values.get("port_security_enabled", network.port_security_enabled)
    port = Port(id=new_id(), own=False, **values)
    port.port_security_enabled = secured
    if wanted is not None:
        subnet, address = place(session, network.id, wanted)
        port.subnet_id, port.address = subnet, address
    # With the subnets locked: nobody takes the MAC meanwhile.
    port.mac = _mac(session, network.id, values.get("mac"))
    joined = _groups(session, port, groups)
    session.add(port)
    session.flush()
    security_groups.join(session, [port.id], joined)
    session.refresh(port)
    return port


def check_device(
    caller: Caller, verb: str, values: Mapping[str, Any], port: Port | None = None
) -> None:
    """Raises Forbidden when others than administrators make a port (of) a device of the cloud's.

    Hosts lead a subnet to whatever router such a port names.
    """
    if caller.is_admin:
        return
    for name in ("device_owner", "device_id"):
        now = getattr(port, name) if port else ""
        changed = name in values and values[name] != now
        theirs = port is not None and port.device_owner.startswith(NETWORKS)
        if changed and (theirs or values.get("device_owner", "").startswith(NETWORKS)):
            raise Forbidden(f"(rule:{verb}_port:{name}) is disallowed by policy")


def _groups(session: Session, port: Port, groups: list[str] | None) -> list[str]:
    """The groups of a new or changed port. Raises Conflict when it takes none."""
    if groups is None:
        if not port.port_security_enabled:
            return []
        return [security_groups.ensure_default(session, port.project_id)]
    if groups and not port.port_security_enabled:
        raise Conflict(
            "Port Security must be enabled and port must have an IP address in order to use "
            "security groups.",
            code="PortSecurityAndIPRequiredForSecurityGroups",
        )
    check_groups(session, port.project_id, groups)
    return groups


def check_groups(session: Session, project_id: str, groups: list[str]) -> None:
    """Raises NotFound for a group that is not the project's."""
    query = select(SecurityGroup.id).where(
        SecurityGroup.id.in_(groups), SecurityGroup.project_id == project_id
    )
    # Locked against removal, and by nobody else's joining.
    locked = query.order_by(SecurityGroup.id).with_for_update(read=True, key_share=True)
    missing = sorted(set(groups) - set(session.scalars(locked)))
    if missing:
        raise NotFound(f"Security group {missing[0]} does not exist", code="SecurityGroupNotFound")


def place(session: Session, network_id: str, wanted: Wanted) -> tuple[str | None, str | None]:
    """A subnet and an address for a port of the network; none of either if it has no subnet.

    Raises Invalid, NotFound or Conflict in Neutron's words.
    """
    if wanted.subnet_id is not None:
        subnet = session.get(Subnet, wanted.subnet_id)
        if subnet is None or subnet.network_id != network_id:
            raise Invalid(
                f"Failed to create port on network {network_id}, because fixed_ips included "
                f"invalid subnet {wanted.subnet_id}.",
                code="InvalidInput",
            )
    try:
        found, address = addresses.take(session, network_id, wanted)
    except Conflict as error:
        if error.code == "no_subnet" and wanted == addresses.ANY:
            return None, None
        raise _in_words(error, network_id, wanted) from error
    return found.id, address


def _in_words(error: Conflict, network_id: str, wanted: Wanted) -> Exception:
    if error.code in ("bad_address", "no_subnet"):
        return Invalid(
            f"IP address {wanted.address} is not a valid IP for any of the subnets on the "
            "specified network.",
            code="InvalidIpForNetwork",
        )
    if error.code == "address_in_use":
        return Conflict(
            f"IP address {wanted.address} already allocated in subnet of network {network_id}",
            code="IpAddressAlreadyAllocated",
        )
    return Conflict(
        f"No more IP addresses available on network {network_id}.",
        code="IpAddressGenerationFailure",
    )


def _mac(session: Session, network_id: str, given: str | None) -> str:
    for _ in range(_TRIES):
        mac = given or addresses.new_mac()
        taken = select(Port.id).where(Port.network_id == network_id, Port.mac == mac)
        if session.scalar(taken) is None:
            return mac
        if given:
            raise Conflict(
                f"Unable to complete operation for network {network_id}. The mac address {given} "
                "is in use.",
                code="MacAddressInUse",
            )
    raise Conflict("No free MAC address was found; try again.", code="MacAddressGenerationFailure")


def change(
    session: Session,
    caller: Caller,
    port_id: str,
    values: Mapping[str, Any],
    more: Mapping[str, Any],
) -> Port:
    """Change columns of a port, and with `more` its groups (a list) and address (a Wanted).

    What a server has keeps its MAC and address (409): its guest knows them.
    """
    port = held(session, caller, port_id)
    moved = {"mac", "address"} & ({*values} | {*more})
    if moved and port.server_id is not None:
        raise Conflict(
            f"Unable to complete operation on port {port.id}: server {port.server_id} uses it, "
            f"and its {' and '.join(sorted(moved))} cannot change meanwhile.",
            code="PortInUse",
        )
    if values.get("device_id") and port.server_id not in (None, values["device_id"]):
        raise Conflict(
            f"Unable to complete operation on port {port.id}: server {port.server_id} uses it.",
            code="PortInUse",
        )
    check_device(caller, "update", values, port)
    if "mac" in values and values["mac"] != port.mac:
        _mac(session, port.network_id, values["mac"])
    for name, value in values.items():
        setattr(port, name, value)
    if "address" in more:
        port.subnet_id, port.address = None, None
        session.flush()
        if more["address"] is not None:
            port.subnet_id, port.address = place(session, port.network_id, more["address"])
    if "groups" in more:
        _regroup(session, port, more["groups"])
    elif not port.port_security_enabled:
        _refuse_open(session, port)
    session.flush()
    host_networking.touch(session, host_networking.of_ports(session, [port.id]))
    session.refresh(port)
    return port


def _regroup(session: Session, port: Port, groups: list[str]) -> None:
    security_groups.join(session, [port.id], _groups(session, port, groups))


def _refuse_open(session: Session, port: Port) -> None:
    if networks.groups_of(session, [port]) or port.address_pairs:
        raise Conflict(
            "Port has security group associated. Cannot disable port security or IP address until "
            "security group is removed.",
            code="PortSecurityPortHasSecurityGroup",
        )


def remove(session: Session, caller: Caller, port_id: str) -> None:
    """Remove a port. Raises Conflict for a server's or a router's: these let go of it first."""
    port = held(session, caller, port_id)
    if port.server_id is not None:
        raise Conflict(
            f"Port {port.id} cannot be deleted while server {port.server_id} uses it: detach it or "
            "delete the server.",
            code="PortInUse",
        )
    if port.device_owner.startswith(ROUTERS) and port.device_id:
        raise Conflict(
            f"Port {port.id} cannot be deleted directly via the port API: has device owner "
            f"{port.device_owner}.",
            code="ServicePortInUse",
        )
    session.delete(port)
    session.flush()


def held(session: Session, caller: Caller, port_id: str) -> Port:
    """The caller's port, locked for a change; its server, if it has one, is locked first."""
    found = networks.get(session, caller, Port, port_id)
    if found.server_id is not None:
        session.execute(select(Server.id).where(Server.id == found.server_id).with_for_update())
    query = select(Port).where(Port.id == port_id).with_for_update()
    again = session.scalars(query.execution_options(populate_existing=True)).first()
    if again is None:
        raise NotFound(f"Port {port_id} could not be found.", code="PortNotFound")
    return again
