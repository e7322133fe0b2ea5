"""Networks, subnets and ports, as far as a project may see them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Select, case, func, or_, select
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.errors import Invalid, NotFound
from app.models import (
    FloatingIp,
    Network,
    Port,
    PortGroup,
    Router,
    SecurityGroup,
    SecurityRule,
    Server,
    Subnet,
)
from app.store.paging import Page, page_of

T = TypeVar("T", Network, Subnet, Port, Router, FloatingIp, SecurityGroup, SecurityRule)


def visible(caller: Caller) -> ColumnElement[bool]:
    """Networks of the caller's project, shared and external ones; all for an admin."""
    if caller.is_admin:
        return Network.id.is_not(None)
    return or_(Network.project_id == caller.project_id, Network.shared, Network.external)


def _networks(caller: Caller) -> Select[Network]:
    return select(Network).where(visible(caller))


def _subnets(caller: Caller) -> Select[Subnet]:
    return select(Subnet).join(Network, Network.id == Subnet.network_id).where(visible(caller))


def _own(kind: Any) -> Callable[[Caller], Select[Any]]:
    """What is the caller's project's; all for an admin."""

    def query(caller: Caller) -> Select[Any]:
        found = select(kind)
        return found if caller.is_admin else found.where(kind.project_id == caller.project_id)

    return query


_SELECTS: Mapping[Any, Any] = {
    Network: _networks,
    Subnet: _subnets,
    **{kind: _own(kind) for kind in (Port, Router, FloatingIp, SecurityGroup, SecurityRule)},
}
_NOUNS: Mapping[Any, str] = {
    FloatingIp: "Floating IP",
    SecurityGroup: "Security group",
    SecurityRule: "Security group rule",
}

_server: Any = select(Server).where(Server.id == Port.server_id)
_zone: Any = _server.with_only_columns("compute:" + func.coalesce(Server.availability_zone, "nova"))
_up: Any = case((Server.vm_state == "active", "ACTIVE"), else_="DOWN")
_serving: Any = case((Port.server_id.is_not(None), None), else_=Port.device_owner)
_group_of: Any = select(PortGroup.group_id).where(PortGroup.port_id == Port.id)
_COMPUTED: Mapping[tuple[Any, str], Any] = {
    (Network, "status"): case((Network.admin_state_up, "ACTIVE"), else_="DOWN"),
    (Port, "status"): func.coalesce(
        _server.with_only_columns(_up).scalar_subquery(),
        case((Port.device_owner.like("network:%"), "ACTIVE"), else_="DOWN"),
    ),
    (Port, "device_owner"): func.coalesce(_zone.scalar_subquery(), _serving, ""),
    (Port, "device_id"): func.coalesce(Port.server_id, Port.device_id),
    (Port, "host"): func.coalesce(
        _server.with_only_columns(Server.host).scalar_subquery(), Port.host_id, ""
    ),
    (FloatingIp, "status"): case((FloatingIp.port_id.is_not(None), "ACTIVE"), else_="DOWN"),
    (Router, "status"): case((Router.id.is_not(None), "ACTIVE"), else_=""),
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
        if (kind, column) == (Port, "security_group"):
            query = query.where(_group_of.where(PortGroup.group_id.in_(values)).exists())
            continue
        of = _COMPUTED.get((kind, column))
        query = query.where((getattr(kind, column) if of is None else of).in_(values))
    marker = None
    if page.marker is not None:
        marker = session.scalars(_SELECTS[kind](caller).where(kind.id == page.marker)).first()
        if marker is None:
            raise Invalid(f"marker {page.marker} not found")
    key = getattr(kind, wanted.sort_key)
    return list(session.scalars(page_of(query, page, key, kind.id, marker)))


def get(session: Session, caller: Caller, kind: type[T], row_id: str) -> T:
    """One row of `kind` that the caller may see, else NotFound."""
    found: T | None = session.scalars(_SELECTS[kind](caller).where(kind.id == row_id)).first()
    if found is None:
        noun = _NOUNS.get(kind, kind.__name__)
        words = "does not exist" if kind in (SecurityGroup, SecurityRule) else "could not be found."
        raise NotFound(f"{noun} {row_id} {words}", code=_code(kind))
    if not (isinstance(found, Network) and (found.shared or found.external)):
        caller.hold(found.id, found.project_id)
    return found


def _code(kind: Any) -> str:
    """What Neutron calls the error that there is no such thing."""
    own = {FloatingIp: "FloatingIPNotFound", SecurityRule: "SecurityGroupRuleNotFound"}
    return own.get(kind, f"{kind.__name__}NotFound")


def by_id(session: Session, kind: type[T], ids: Iterable[str]) -> dict[str, T]:
    """Rows by their ids, whoever's they are."""
    return {row.id: row for row in session.scalars(select(kind).where(kind.id.in_(list(ids))))}


def of_server(session: Session, server_id: str) -> list[Port]:
    """A server's ports that have an address, in order."""
    query = select(Port).where(Port.server_id == server_id, Port.address.is_not(None))
    return list(session.scalars(query.order_by(Port.position, Port.id)))


def groups_of(session: Session, ports: Sequence[Port]) -> dict[str, list[str]]:
    """The ids of each port's security groups."""
    query = select(PortGroup.port_id, PortGroup.group_id).where(
        PortGroup.port_id.in_([port.id for port in ports])
    )
    found: dict[str, list[str]] = {}
    for row in session.execute(query.order_by(PortGroup.group_id)):
        found.setdefault(row.port_id, []).append(row.group_id)
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
