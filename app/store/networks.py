"""Networks, subnets and ports, as far as a project may see them."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, case, func, or_, select
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.domain.new_servers import WantedNic
from app.errors import Invalid, NotFound
from app.models import Network, Port, Server, Subnet
from app.store.paging import Page, page_of

T = TypeVar("T", Network, Subnet, Port)


def visible(caller: Caller) -> ColumnElement[bool]:
    """Networks of the caller's project and shared ones; all for an admin."""
    if caller.is_admin:
        return Network.id.is_not(None)
    return or_(Network.project_id == caller.project_id, Network.shared)


def _networks(caller: Caller) -> Select[Network]:
    return select(Network).where(visible(caller))


def _subnets(caller: Caller) -> Select[Subnet]:
    return select(Subnet).join(Network, Network.id == Subnet.network_id).where(visible(caller))


def _ports(caller: Caller) -> Select[Port]:
    query = select(Port)
    return query if caller.is_admin else query.where(Port.project_id == caller.project_id)


_SELECTS: Mapping[Any, Any] = {Network: _networks, Subnet: _subnets, Port: _ports}

_server: Any = select(Server).where(Server.id == Port.server_id)
_zone: Any = _server.with_only_columns("compute:" + func.coalesce(Server.availability_zone, "nova"))
_up: Any = case((Server.vm_state == "active", "ACTIVE"), else_="DOWN")
_COMPUTED: Mapping[tuple[Any, str], Any] = {
    (Network, "status"): case((Network.admin_state_up, "ACTIVE"), else_="DOWN"),
    (Port, "status"): func.coalesce(_server.with_only_columns(_up).scalar_subquery(), "DOWN"),
    (Port, "device_owner"): func.coalesce(_zone.scalar_subquery(), ""),
    (Port, "host"): func.coalesce(_server.with_only_columns(Server.host).scalar_subquery(), ""),
}
"""What clients filter by though no table has it."""


@dataclass(frozen=True)
class Listing:
    """Which rows: `filters` gives for each column the values that will do."""

    filters: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    page: Page = Page()
    sort_key: str = "id"


def listed(session: Session, caller: Caller, kind: type[T], wanted: Listing) -> list[T]:
    """A page of the rows of `kind` that the caller may see. Raises Invalid for a bad marker."""
    query, page = _SELECTS[kind](caller), wanted.page
    for column, values in wanted.filters.items():
        of = _COMPUTED.get((kind, column))
        query = query.where((getattr(kind, column) if of is None else of).in_(values))
    marker = None
    if page.marker is not None:
        marker = session.scalars(_SELECTS[kind](caller).where(kind.id == page.marker)).first()
        if marker is None:
            raise Invalid(f"marker {page.marker} not found")
    key = getattr(kind, wanted.sort_key)
    return list(session.scalars(page_of(query, page, key, kind.id, marker)))


def in_use(session: Session, project_id: str) -> dict[str, int]:
    """How many networks, subnets and ports a project has."""
    return {
        kind.__name__.lower(): session.scalar(
            select(func.count()).select_from(kind).where(kind.project_id == project_id)
        )
        or 0
        for kind in (Network, Subnet, Port)
    }


def get(session: Session, caller: Caller, kind: type[T], row_id: str) -> T:
    """One row of `kind` that the caller may see, else NotFound."""
    found: T | None = session.scalars(_SELECTS[kind](caller).where(kind.id == row_id)).first()
    if found is None:
        raise NotFound(f"{kind.__name__} {row_id} could not be found.")
    return found


def subnet_ids(session: Session, network_ids: Iterable[str]) -> dict[str, list[str]]:
    """The subnets of each network."""
    query = select(Subnet.network_id, Subnet.id).where(Subnet.network_id.in_(list(network_ids)))
    found: dict[str, list[str]] = {}
    for row in session.execute(query.order_by(Subnet.created_at, Subnet.id)):
        found.setdefault(row.network_id, []).append(row.id)
    return found


def port_facts(session: Session, ports: Sequence[Port]) -> dict[str, tuple[str | None, str, str]]:
    """For each port's id: its server's host, that server's vm_state and its zone."""
    ids = [port.server_id for port in ports if port.server_id]
    query = select(Server.id, Server.host, Server.vm_state, Server.availability_zone)
    servers = {row.id: row for row in session.execute(query.where(Server.id.in_(ids)))}
    facts: dict[str, tuple[str | None, str, str]] = {}
    for port in ports:
        row = servers.get(port.server_id or "")
        facts[port.id] = (
            (row.host, row.vm_state, row.availability_zone or "nova") if row else (None, "", "")
        )
    return facts


def default_nics(session: Session, caller: Caller) -> tuple[WantedNic, ...]:
    """The network that a create means when it names none: the project's default, or the shared.

    Raises Invalid when there are several to choose from and none is the default.
    """
    query = select(Network.id, Network.project_id, Network.is_default).where(
        or_(Network.project_id == caller.project_id, Network.shared)
    )
    rows = list(session.execute(query.order_by(Network.created_at, Network.id)))
    own = [row.id for row in rows if row.project_id == caller.project_id]
    marked = [row.id for row in rows if row.is_default]
    preferred = [one for one in marked if one in own] or marked or own
    if not preferred:
        return ()
    if len(preferred) > 1 and not marked:
        raise Invalid(
            "Multiple possible networks found, use a Network ID to be more specific.",
            code="ambiguous_network",
        )
    return (WantedNic(network_id=preferred[0]),)


def check_nics(session: Session, caller: Caller, nics: Sequence[WantedNic]) -> None:
    """Raise Invalid when a network is not the caller's to use or an address is not in it."""
    wanted = {nic.network_id for nic in nics}
    query = select(Network.id).where(visible(caller), Network.id.in_(wanted))
    seen = set(session.scalars(query))
    if missing := sorted(wanted - seen):
        raise Invalid(f"Network {missing[0]} could not be found.", code="network_not_found")
    subnets: dict[str, list[Any]] = {}
    for row in session.execute(
        select(Subnet.network_id, Subnet.cidr).where(Subnet.network_id.in_(wanted))
    ):
        subnets.setdefault(row.network_id, []).append(ipaddress.ip_network(row.cidr))
    for nic in nics:
        if not subnets.get(nic.network_id):
            raise Invalid(
                f"Network {nic.network_id} requires a subnet in order to boot instances on.",
                code="no_subnet",
            )
        if nic.fixed_ip and not any(
            ipaddress.ip_address(nic.fixed_ip) in net for net in subnets[nic.network_id]
        ):
            raise Invalid(
                f"Fixed IP {nic.fixed_ip} is not in a subnet of network {nic.network_id}",
                code="address_outside",
            )
