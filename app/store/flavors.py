"""Flavors, as far as a project may see them."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.domain.caller import Caller
from app.errors import Invalid, NotFound
from app.models import Flavor, FlavorAccess
from app.store.paging import Page, page_of

_KEYS: dict[str, InstrumentedAttribute] = {
    "flavorid": Flavor.id,
    "id": Flavor.id,
    "name": Flavor.name,
    "memory_mb": Flavor.ram_mb,
    "vcpus": Flavor.vcpus,
    "root_gb": Flavor.disk_gb,
}
SORT_KEYS = tuple(_KEYS)


@dataclass(frozen=True)
class FlavorQuery:
    """`is_public` None shows both sorts to admins, and is ignored for others."""

    is_public: bool | None = True
    min_ram_mb: int = 0
    min_disk_gb: int = 0
    sort_key: str = "flavorid"
    page: Page = Page()


def page(session: Session, caller: Caller, wanted: FlavorQuery) -> list[Flavor]:
    """Flavors that the caller may use, filtered and in order. Raises Invalid for a bad marker."""
    query = select(Flavor).where(
        _visible(caller),
        ~Flavor.disabled,
        Flavor.ram_mb >= wanted.min_ram_mb,
        Flavor.disk_gb >= wanted.min_disk_gb,
    )
    if caller.is_admin and wanted.is_public is not None:
        query = query.where(Flavor.is_public == wanted.is_public)
    marker = None
    if wanted.page.marker is not None:
        seen = select(Flavor).where(Flavor.id == wanted.page.marker, _visible(caller))
        marker = session.scalars(seen).first()
        if marker is None:
            raise Invalid(f"marker [{wanted.page.marker}] not found")
    query = page_of(query, wanted.page, _KEYS[wanted.sort_key], Flavor.id, marker)
    return list(session.scalars(query))


def get(session: Session, caller: Caller, flavor_id: str) -> Flavor:
    """One flavor that the caller may use, else NotFound."""
    query = select(Flavor).where(Flavor.id == flavor_id, _visible(caller))
    flavor = session.scalars(query).first()
    if flavor is None:
        raise NotFound(f"Flavor {flavor_id} could not be found.")
    return flavor


def _visible(caller: Caller) -> ColumnElement[bool]:
    if caller.is_admin:
        return Flavor.id.is_not(None)
    granted = select(FlavorAccess.flavor_id).where(FlavorAccess.project_id == caller.project_id)
    return or_(Flavor.is_public, Flavor.id.in_(granted))
