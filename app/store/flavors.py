"""Flavors, as far as a project may see them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.domain.caller import Caller
from app.errors import Conflict, Invalid, NotFound
from app.models import Flavor, FlavorAccess
from app.store.paging import Page, page_of

_KEYS: dict[str, InstrumentedAttribute] = {
    "flavorid": Flavor.id,
    "id": Flavor.id,
    "name": Flavor.name,
    "memory_mb": Flavor.ram_mb,
    "vcpus": Flavor.vcpus,
    "root_gb": Flavor.disk_gb,
    "ephemeral_gb": Flavor.ephemeral_gb,
    "swap": Flavor.swap_mb,
    "rxtx_factor": Flavor.rxtx_factor,
    "disabled": Flavor.disabled,
    "is_public": Flavor.is_public,
}
SORT_KEYS = tuple(_KEYS)
MOST_SPECS = 256
"""Extra specs that one flavor may have: they are copied into each server of it."""


@dataclass(frozen=True)
class FlavorQuery:
    """`is_public` None shows both sorts to admins, and is ignored for others."""

    is_public: bool | None = True
    min_ram_mb: int = 0
    min_disk_gb: int = 0
    name: str | None = None
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
    if wanted.name is not None:
        query = query.where(Flavor.name == wanted.name)
    if caller.is_admin and wanted.is_public is not None:
        query = query.where(_usable(caller) if wanted.is_public else ~Flavor.is_public)
    marker = None
    if wanted.page.marker is not None:
        seen = select(Flavor).where(Flavor.id == wanted.page.marker, _visible(caller))
        marker = session.scalars(seen).first()
        if marker is None:
            raise Invalid(f"marker [{wanted.page.marker}] not found")
    query = page_of(query, wanted.page, _KEYS[wanted.sort_key], Flavor.id, marker)
    return list(session.scalars(query))


def get(session: Session, caller: Caller, flavor_id: str, *, lock: bool = False) -> Flavor:
    """One flavor that the caller may use, else NotFound; `lock` it for a change."""
    query = select(Flavor).where(Flavor.id == flavor_id, _visible(caller))
    flavor = session.scalars(query.with_for_update() if lock else query).first()
    if flavor is None:
        raise NotFound(f"Flavor {flavor_id} could not be found.")
    return flavor


def add(session: Session, flavor: Flavor) -> None:
    """Keep a new flavor. Raises Conflict when its id or name is taken."""
    _refuse_taken(session, flavor)
    session.add(flavor)
    try:
        session.flush()
    except IntegrityError as error:  # somebody else was first, between the look and now
        raise Conflict(
            f"Flavor with ID {flavor.id} or name {flavor.name} already exists."
        ) from error


def _refuse_taken(session: Session, flavor: Flavor) -> None:
    if session.scalar(select(Flavor.id).where(Flavor.name == flavor.name)) is not None:
        raise Conflict(f"Flavor with name {flavor.name} already exists.")
    if session.get(Flavor, flavor.id) is not None:
        raise Conflict(f"Flavor with ID {flavor.id} already exists.")


def remove(session: Session, caller: Caller, flavor_id: str) -> None:
    """Forget a flavor and who may use it; servers keep their copies. Raises NotFound."""
    session.delete(get(session, caller, flavor_id, lock=True))
    session.execute(delete(FlavorAccess).where(FlavorAccess.flavor_id == flavor_id))


def set_specs(session: Session, caller: Caller, flavor_id: str, given: Mapping[str, str]) -> None:
    """Add or replace extra specs. Raises NotFound, and Invalid when they become too many."""
    flavor = get(session, caller, flavor_id, lock=True)
    merged = flavor.extra_specs | dict(given)
    if len(merged) > MOST_SPECS:
        raise Invalid(f"extra_specs: a flavor has at most {MOST_SPECS} of them")
    flavor.extra_specs = merged


def remove_spec(session: Session, caller: Caller, flavor_id: str, key: str) -> None:
    """Forget one extra spec. Raises NotFound when the flavor has none of that name."""
    flavor = get(session, caller, flavor_id, lock=True)
    spec(flavor, key)
    flavor.extra_specs = {name: value for name, value in flavor.extra_specs.items() if name != key}


def spec(flavor: Flavor, key: str) -> str:
    """The value of one extra spec. Raises NotFound."""
    if key not in flavor.extra_specs:
        raise NotFound(f"Flavor {flavor.id} has no extra specs with key {key}.")
    return str(flavor.extra_specs[key])


def _visible(caller: Caller) -> ColumnElement[bool]:
    return Flavor.id.is_not(None) if caller.is_admin else _usable(caller)


def _usable(caller: Caller) -> ColumnElement[bool]:
    granted = select(FlavorAccess.flavor_id).where(FlavorAccess.project_id == caller.project_id)
    return or_(Flavor.is_public, Flavor.id.in_(granted))
