"""Image rows: who may see them, and the way of an upload: queued, saving, active."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Select, Text, and_, cast, func, or_, select, update
from sqlalchemy.orm import InstrumentedAttribute, Session

from app.domain.caller import Caller
from app.errors import Conflict, Forbidden, Invalid, NotFound
from app.models import Image, now
from app.store.database import changed
from app.store.paging import Page, page_of

QUEUED, SAVING, ACTIVE, DELETED = "queued", "saving", "active", "deleted"
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
COLUMNS = ("id", "name", "status", "owner", "disk_format", "container_format", "checksum")


@dataclass(frozen=True)
class ImageQuery:
    """`columns` holds allowed values by column, `properties` one value by custom property."""

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    properties: Mapping[str, str] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    visibility: str | None = None
    protected: bool | None = None
    hidden: bool = False
    size_min: int | None = None
    size_max: int | None = None
    sort_key: str = "created_at"
    page: Page = Page(descending=True)


@dataclass(frozen=True)
class Received:
    """What an upload was found to be. Sizes in bytes."""

    file_name: str
    size: int
    virtual_size: int
    md5: str
    sha512: str


def page(session: Session, caller: Caller, wanted: ImageQuery) -> list[Image]:
    """Images that the caller may see, filtered and in order. Raises Invalid for a bad marker."""
    query = _filtered(_visible(caller, listing=wanted.visibility != "community"), wanted)
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
        query = query.where(getattr(Image, column).in_(values))
    for name, value in wanted.properties.items():
        query = query.where(Image.properties[name].as_string() == value)
    tags = cast(Image.tags, Text)
    for tag in wanted.tags:
        # A JSON list: each tag stands in its text just as it would alone. (LIKE ignores case.)
        query = query.where(func.replace(tags, json.dumps(tag), "") != tags)
    if wanted.visibility not in (None, "all"):
        query = query.where(Image.visibility == wanted.visibility)
    if wanted.protected is not None:
        query = query.where(Image.protected == wanted.protected)
    if wanted.size_min is not None:
        query = query.where(Image.size >= wanted.size_min)
    if wanted.size_max is not None:
        query = query.where(Image.size <= wanted.size_max)
    return query.where(Image.hidden == wanted.hidden)


def get(session: Session, caller: Caller, image_id: str) -> Image:
    """One image that the caller may see, else NotFound."""
    query = _visible(caller, listing=False).where(Image.id == image_id)
    image = session.scalars(query).first()
    if image is None:
        raise NotFound(f"No image found with ID {image_id}")
    return image


def readable(session: Session, image_id: str) -> Image:
    """An active image whoever owns it, for one who was given the right to read it."""
    image = session.get(Image, image_id)
    if image is None or image.status != ACTIVE:
        raise NotFound(f"No image found with ID {image_id}")
    return image


def add(session: Session, image: Image) -> Image:
    """Keep a new image's record. Raises Conflict when its id is taken."""
    if session.get(Image, image.id) is not None:
        raise Conflict(f"Image ID {image.id} already exists!")
    session.add(image)
    session.flush()
    session.refresh(image)
    return image


def begin_upload(
    session: Session, caller: Caller, image_id: str, draft: str, abandoned: str | None = None
) -> Image:
    """Move the image to saving, with `draft` as the file that grows.

    `abandoned` names the draft of an upload that is known to have died: it is taken over.
    Raises Conflict when the image has its data, or somebody else is uploading it.
    """
    image = _own(session, caller, image_id)
    if image.container_format is None or image.disk_format is None:
        raise Invalid("disk_format and container_format must be set before data is uploaded")
    free = Image.status == QUEUED
    if abandoned is not None:
        free = or_(free, and_(Image.status == SAVING, Image.file_name == abandoned))
    taken = changed(
        session,
        update(Image)
        .where(Image.id == image_id, free)
        .values(status=SAVING, file_name=draft)
        .execution_options(synchronize_session=False),
    )
    if taken == 0:
        raise Conflict(f"Image status transition from {image.status} to saving is not allowed")
    return image


def finish_upload(session: Session, image_id: str, draft: str, received: Received) -> None:
    """Move the image from saving to active. Raises NotFound when it was deleted meanwhile."""
    finished = changed(
        session,
        update(Image)
        .where(Image.id == image_id, Image.status == SAVING, Image.file_name == draft)
        .values(
            status=ACTIVE,
            file_name=received.file_name,
            size=received.size,
            virtual_size=received.virtual_size,
            checksum=received.md5,
            hash_algorithm="sha512",
            hash_value=received.sha512,
        ),
    )
    if finished == 0:
        raise NotFound(f"Image {image_id} was deleted while it was uploaded")


def fail_upload(session: Session, image_id: str, draft: str) -> None:
    """Move the image back from saving to queued, unless somebody else has it by now."""
    session.execute(
        update(Image)
        .where(Image.id == image_id, Image.status == SAVING, Image.file_name == draft)
        .values(status=QUEUED, file_name=None)
    )


def has_file(session: Session, image_id: str) -> bool:
    """Whether the image is active with its file in the store."""
    return session.scalar(select(Image.status).where(Image.id == image_id)) == ACTIVE


def saving(session: Session) -> list[tuple[str, str]]:
    """Ids and drafts of all uploads that run, or died."""
    query = select(Image.id, Image.file_name).where(Image.status == SAVING)
    return [(row.id, row.file_name or "") for row in session.execute(query)]


def delete(session: Session, caller: Caller, image_id: str) -> str | None:
    """Mark the image deleted; the name of the file that may go now.

    Raises Forbidden when it is protected or somebody else's.
    """
    image = _own(session, caller, image_id)
    if image.protected:
        raise Forbidden(f"Image {image_id} is protected and cannot be deleted.")
    file_name = image.file_name if image.status == ACTIVE else None
    image.status, image.file_name = DELETED, None
    image.deleted_at = now()
    return file_name


def _own(session: Session, caller: Caller, image_id: str) -> Image:
    image = get(session, caller, image_id)
    if image.owner != caller.project_id and not caller.is_admin:
        raise Forbidden(f"You are not permitted to change image {image_id}.")
    return image


def _visible(caller: Caller, *, listing: bool) -> Select[Image]:
    """Own and public images; community ones only by id or when asked for by that word."""
    query = select(Image).where(Image.status != DELETED)
    if caller.is_admin:
        return query
    open_to_all = ("public",) if listing else ("public", "community")
    return query.where(or_(Image.owner == caller.project_id, Image.visibility.in_(open_to_all)))
