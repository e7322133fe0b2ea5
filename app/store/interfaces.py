"""Interfaces that come and go while a server is there: its ports, and the requests for them.

A port that was asked for is the server's from then on. It goes again when its host says that it
could not plug it in; when nobody knows, it stays, and the next hard reboot plugs it in.
"""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.domain.new_servers import WantedNic
from app.errors import Invalid, NotFound
from app.models import Action, Network, Port, Server, ServerNic, Subnet
from app.store import addresses, networks, security_groups, server_networks, servers

ATTACH, DETACH = "attach_interface", "detach_interface"
MOST = 16
"""Interfaces that a server may have."""


def of_server(session: Session, caller: Caller, server_id: str) -> list[tuple[Port, Subnet, bool]]:
    """The ports of the caller's server in order, with their subnets, and whether each is plugged
    in as far as the rows know. Raises NotFound."""
    servers.check(session, caller, server_id, servers.ANYTHING)
    under_way = set(
        session.scalars(
            select(Action.args["port_id"].as_string()).where(
                Action.server_id == server_id,
                Action.kind == ATTACH,
                Action.finished_at.is_(None),
            )
        )
    )
    found = addresses.of_server(session, server_id)
    return [(port, subnet, port.id not in under_way) for port, subnet, _ in found]


def attach(
    session: Session, caller: Caller, server_id: str, wanted: Sequence[WantedNic]
) -> tuple[Action, Port, Subnet]:
    """Accept one more interface, in the first of the wanted networks (one is enough).

    Raises NotFound and Conflict, the latter also for addresses: their codes say so.
    """
    action = servers.request(session, caller, server_id, ATTACH, {})
    server = session.get_one(Server, server_id)
    if len(addresses.of_server(session, server_id)) >= MOST:
        raise Invalid(f"Instance {server_id} has {MOST} interfaces, which is the most")
    nic = wanted[0]
    if nic.port_id is None:
        port = addresses.add(session, server, nic.network_id, nic.fixed_ip)
        _guard(session, port)
    else:
        port = _bring(session, server, nic)
    action.args = {"port_id": port.id}
    session.flush()
    return action, port, session.get_one(Subnet, port.subnet_id)


def _guard(session: Session, port: Port) -> None:
    """A new port is in its server's groups, or in the project's default one."""
    if port.port_security_enabled and not networks.groups_of(session, [port]):
        default = security_groups.ensure_default(session, port.project_id)
        security_groups.join(session, [port.id], [default])


def _bring(session: Session, server: Server, nic: WantedNic) -> Port:
    """Give the server a port that is there. Raises Conflict when another was faster."""
    position = addresses.next_position(session, server.id)
    session.add(
        ServerNic(
            server_id=server.id,
            position=position,
            network_id=nic.network_id,
            port_id=nic.port_id,
        )
    )
    server_networks.bind(session, server.id, [nic], position)
    return session.get_one(Port, str(nic.port_id), populate_existing=True)


def detach(session: Session, caller: Caller, server_id: str, port_id: str) -> Action:
    """Accept an interface's end. Raises NotFound and Conflict."""
    server = servers.hold(session, caller, server_id)
    port = session.get(Port, port_id)
    if port is None or port.server_id != server.id:
        raise NotFound(f"Port id {port_id} could not be found.", code="port_not_found")
    return servers.request(session, caller, server_id, DETACH, {"port_id": port_id})


def network_named(session: Session, caller: Caller, network_id: str) -> Network:
    """A network that the caller may use. Raises NotFound."""
    return networks.get(session, caller, Network, network_id)


def settled(session: Session, action: Action, plugged: bool) -> None:
    """The host said how it ended: what is not plugged in any more, or never was, is free."""
    if not plugged:
        addresses.remove(session, action.server_id, str(action.args["port_id"]))
