"""Image rows: who may see them, who may change them."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Select, Text, and_, cast, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.domain.caller import Caller
from app.errors import Conflict, Forbidden, Invalid, NotFound
from app.models import Image, ImageMember, Project, now
from app.store.paging import Page, page_of

QUEUED, SAVING, UPLOADING = "queued", "saving", "uploading"
ACTIVE, DEACTIVATED, DELETED = "active", "deactivated", "deleted"
_KEYS: dict[str, InstrumentedAttribute] = {
    "created_at": Image.created_at,
    "updated_at": Image.updated_at,
    "name": Image.name,
    "status": Image.status,
    "size": Image.size,
    "disk_format": Image.disk_format,
    "container_format": Image.container_format,
    "id": Image.id,
}
SORT_KEYS = tuple(_KEYS)
COLUMNS: dict[str, InstrumentedAttribute] = {
    "id": Image.id,
    "name": Image.name,
    "status": Image.status,
    "owner": Image.owner,
    "disk_format": Image.disk_format,
    "container_format": Image.container_format,
    "checksum": Image.checksum,
    "os_hash_algo": Image.hash_algorithm,
    "os_hash_value": Image.hash_value,
}
OPEN = ("public", "community")
"""Visibilities with which an image is every project's to use."""
COMPARISONS = ("gt", "gte", "lt", "lte", "eq", "neq")


@dataclass(frozen=True)
class Moment:
    """`column` (created_at or updated_at) compared, to the second, with a time."""

    column: str
    comparison: str
    at: float


@dataclass(frozen=True)
class ImageQuery:
    """`columns` holds allowed values by column, `properties` one value by custom property."""

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    visibility: str | None = None
    member_status: str = "accepted"
    protected: bool | None = None
    hidden: bool = False
    times: tuple[Moment, ...] = ()
    size_min: int | None = None
    size_max: int | None = None
    min_disk: int | None = None
    min_ram: int | None = None
    sort_key: str = "created_at"
    page: Page = Page(descending=True)


def page(session: Session, caller: Caller, wanted: ImageQuery) -> list[Image]:
    """Images that the caller may see, filtered and in order. Raises Invalid for a bad marker."""
    status = None if wanted.member_status == "all" else wanted.member_status
    listed = _visible(caller, listing=wanted.visibility != "community", member_status=status)
    query = _filtered(listed, wanted)
    marker = None
    if wanted.page.marker is not None:
        seen = _visible(caller, listing=False).where(Image.id == wanted.page.marker)
        marker = session.scalars(seen).first()
        if marker is None:
            raise Invalid(f"marker {wanted.page.marker} not found")
    query = page_of(query, wanted.page, _KEYS[wanted.sort_key], Image.id, marker)
    return list(session.scalars(query))


def _filtered(query: Select[Image], wanted: ImageQuery) -> Select[Image]:
    for column, values in wanted.columns.items():
        query = query.where(COLUMNS[column].in_(values))
    for name, value in wanted.properties.items():
        query = query.where(Image.properties[name].as_string() == value)
    tags = cast(Image.tags, Text)
    for tag in wanted.tags:
        # A JSON list: each tag stands in its text just as it would alone. (LIKE ignores case.)
        query = query.where(func.replace(tags, json.dumps(tag), "") != tags)
    for moment in wanted.times:
        query = query.where(_compared(moment))
    if wanted.visibility not in (None, "all"):
        query = query.where(Image.visibility == wanted.visibility)
    if wanted.protected is not None:
        query = query.where(Image.protected == wanted.protected)
    if wanted.min_disk is not None:
        query = query.where(Image.min_disk == wanted.min_disk)
    if wanted.min_ram is not None:
        query = query.where(Image.min_ram == wanted.min_ram)
    if wanted.size_min is not None:
        query = query.where(Image.size >= wanted.size_min)
    if wanted.size_max is not None:
        query = query.where(Image.size <= wanted.size_max)
    return query.where(Image.hidden == wanted.hidden)


def _compared(moment: Moment) -> ColumnElement[bool]:
    # Clients see whole seconds: all of one second is the same moment.
    column, begin = _KEYS[moment.column], math.floor(moment.at)
    match moment.comparison:
        case "gt":
            return column >= begin + 1
        case "gte":
            return column >= begin
        case "lt":
            return column < begin
        case "lte":
            return column < begin + 1
        case "neq":
            return or_(column < begin, column >= begin + 1)
    return and_(column >= begin, column < begin + 1)


def get(session: Session, caller: Caller, image_id: str) -> Image:
    """One image that the caller may see, else NotFound."""
    query = _visible(caller, listing=False).where(Image.id == image_id)
    image = session.scalars(query).first()
    if image is None:
        raise NotFound(f"No image found with ID {image_id}")
    if image.visibility not in OPEN:
        caller.hold(image.id, image.owner)
    return image


_OF_GUESTS = re.compile(r"(hw|os|img)_[\w.:]{1,250}|architecture|vm_mode|hypervisor_type")


def for_guests(image: Image) -> dict[str, str]:
    """The properties that say how guests of the image are to be made, as servers keep them."""
    return {
        name: str(value)[:255]
        for name, value in image.properties.items()
        if _OF_GUESTS.fullmatch(name)
    }


def add(session: Session, image: Image) -> Image:
    """Keep a new image's record. Raises Conflict when its id is taken, and Invalid when its owner
    is no project (any more)."""
    check_owner(session, image.owner)
    if session.get(Image, image.id) is not None:
        raise Conflict(f"Image ID {image.id} already exists!")
    session.add(image)
    session.flush()
    session.refresh(image)
    return image


def check_owner(session: Session, project_id: str) -> None:
    """Raises Invalid unless there is such a project; it stays until the transaction's end."""
    owner = select(Project.id).where(Project.id == project_id).with_for_update(read=True)
    if session.scalar(owner) is None:
        raise Invalid(f"Invalid input for field owner: there is no project {project_id}")


def for_change(session: Session, caller: Caller, image_id: str) -> Image:
    """One image that the caller may change; nobody else changes it before the transaction's end.

    Raises NotFound, or Forbidden when it is somebody else's.
    """
    image = get(session, caller, image_id)
    if image.owner != caller.project_id and not caller.is_admin:
        raise Forbidden(f"You are not permitted to change image {image_id}.")
    caller.hold(image.id, image.owner)
    # Read anew under the lock: what was read before may be another change's past.
    session.refresh(image, with_for_update=True)
    if image.status == DELETED:
        raise NotFound(f"No image found with ID {image_id}")
    return image


def set_active(session: Session, caller: Caller, image_id: str, active: bool) -> None:
    """Take the image out of use, or back. Raises Forbidden while it has no data."""
    image = for_change(session, caller, image_id)
    if image.status not in (ACTIVE, DEACTIVATED):
        word = "reactivate" if active else "deactivate"
        raise Forbidden(f"Not allowed to {word} image in status '{image.status}'")
    image.status = ACTIVE if active else DEACTIVATED


def delete(session: Session, caller: Caller, image_id: str) -> str | None:
    """Mark the image deleted; the name of the file that may go now.

    Raises Forbidden when it is protected or somebody else's.
    """
    image = for_change(session, caller, image_id)
    if image.protected:
        raise Forbidden(f"Image {image_id} is protected and cannot be deleted.")
    draft = image.file_name is not None and image.file_name.endswith(".part")
    file_name = None if draft else image.file_name  # drafts end by themselves
    image.status, image.file_name = DELETED, None
    image.deleted_at = now()
    return file_name


def _visible(caller: Caller, *, listing: bool, member_status: str | None = None) -> Select[Image]:
    """Own and public images, and those shared with the caller's project that it has given that
    status, if any; community ones only by id or when asked for by that word."""
    query = select(Image).where(Image.status != DELETED)
    if caller.is_admin:
        return query
    open_to_all = ("public",) if listing else OPEN
    mine = select(ImageMember.image_id).where(ImageMember.project_id == caller.project_id)
    if member_status is not None:
        mine = mine.where(ImageMember.status == member_status)
    offered = and_(Image.visibility == "shared", Image.id.in_(mine))
    open_to_me = or_(Image.visibility.in_(open_to_all), offered)
    return query.where(or_(Image.owner == caller.project_id, open_to_me))
