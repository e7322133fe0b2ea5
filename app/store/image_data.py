"""The way of an image's data: queued, saving, active; or queued, uploading (staged), active.

While data comes in, `file_name` is the draft (`….part`) that grows; once all of it is there, it is
the image's own id. So a row tells a staged image from one that is being staged. An image that is
made of a server has the file `<id>.<fence>` from its beginning; the server's host sends it.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, or_, select, update
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.errors import Conflict, Invalid, NotFound
from app.models import Image
from app.store import images
from app.store.database import changed


@dataclass(frozen=True)
class Way:
    """The status while the data comes in, and the one after."""

    during: str
    after: str


UPLOAD = Way(images.SAVING, images.ACTIVE)
STAGE = Way(images.UPLOADING, images.UPLOADING)
_INCOMING = (images.SAVING, images.UPLOADING)
DRAFT = ".part"
"""What the names of drafts end with."""


@dataclass(frozen=True)
class Received:
    """What an upload was found to be. Sizes in bytes."""

    file_name: str
    size: int
    virtual_size: int
    md5: str
    sha512: str


def readable(session: Session, image_id: str) -> Image:
    """An active image whoever owns it, for one who was given the right to read it."""
    image = session.get(Image, image_id)
    if image is None or image.status != images.ACTIVE:
        raise NotFound(f"No image found with ID {image_id}")
    return image


@dataclass(frozen=True)
class Claim:
    """One who wants to fill an image: by which way, through which draft.

    `abandoned` names the draft of one who is known to have died: it is taken over.
    """

    way: Way
    draft: str
    abandoned: str | None = None


def begin(session: Session, caller: Caller, image_id: str, claim: Claim) -> Image:
    """Let the image's data come in through the claim's draft.

    Raises Conflict when the image has its data, or somebody else is sending it.
    """
    image = images.for_change(session, caller, image_id)
    if image.container_format is None or image.disk_format is None:
        raise Invalid("disk_format and container_format must be set before data is uploaded")
    free = Image.status == images.QUEUED
    if claim.abandoned is not None:
        dead = and_(Image.status.in_(_INCOMING), Image.file_name == claim.abandoned)
        free = or_(free, dead)
    taken = changed(
        session,
        update(Image)
        .where(Image.id == image_id, free)
        .values(status=claim.way.during, file_name=claim.draft)
        .execution_options(synchronize_session=False),
    )
    if taken == 0:
        raise Conflict(
            f"Image status transition from {image.status} to {claim.way.during} is not allowed"
        )
    return image


def finish(session: Session, image_id: str, claim: Claim, received: Received) -> None:
    """All data is there and in place. Raises NotFound when the image was deleted meanwhile."""
    finished = changed(
        session,
        update(Image)
        .where(_holds(image_id, claim.draft))
        .values(
            status=claim.way.after,
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


def give_up(session: Session, image_id: str, draft: str) -> None:
    """Put the image back to queued, unless somebody else has it by now."""
    session.execute(
        update(Image).where(_holds(image_id, draft)).values(status=images.QUEUED, file_name=None)
    )


def take_over(session: Session, image_id: str, dead: str, draft: str) -> bool:
    """Whether the image that `dead` was filling is `draft`'s now."""
    taken = update(Image).where(_holds(image_id, dead)).values(file_name=draft)
    return changed(session, taken) == 1


def import_staged(session: Session, caller: Caller, image_id: str) -> None:
    """Put the staged data to use. Raises Conflict when none, or not all of it, is staged."""
    image = images.for_change(session, caller, image_id)
    if image.status != images.UPLOADING or image.file_name != image.id:
        raise Conflict(f"Image {image_id} has no staged data: its status is {image.status}")
    image.status = images.ACTIVE


def has_file(session: Session, image_id: str) -> bool:
    """Whether the image's data is in the store under its own name."""
    return session.scalar(select(Image.file_name).where(Image.id == image_id)) == image_id


def incoming(session: Session) -> list[tuple[str, str]]:
    """Ids and drafts of all images whose data comes in, or came until its process died."""
    query = select(Image.id, Image.file_name).where(
        Image.status.in_(_INCOMING), Image.file_name.like(f"%{DRAFT}")
    )
    return [(row.id, row.file_name or "") for row in session.execute(query)]


def awaited(session: Session, image_id: str, file_name: str) -> Image:
    """The image made of a server that waits for the file of that name, locked.

    Raises NotFound when it has its data, was deleted, or is another request's.
    """
    mine = (Image.id == image_id, Image.status == images.SAVING, Image.file_name == file_name)
    image = session.scalars(select(Image).where(*mine).with_for_update()).first()
    if image is None:
        raise NotFound(f"Image {image_id} waits for no data")
    return image


def unwanted(session: Session) -> list[tuple[str, str]]:
    """Ids and files of images that were deleted where the image store is not."""
    query = select(Image.id, Image.file_name).where(
        Image.status == images.DELETED, Image.file_name.is_not(None)
    )
    return [(row.id, str(row.file_name)) for row in session.execute(query)]


def removed(session: Session, image_id: str) -> None:
    """The file of a deleted image is gone."""
    deleted = (Image.id == image_id, Image.status == images.DELETED)
    session.execute(update(Image).where(*deleted).values(file_name=None))


def _holds(image_id: str, draft: str) -> ColumnElement[bool]:
    return and_(Image.id == image_id, Image.status.in_(_INCOMING), Image.file_name == draft)
