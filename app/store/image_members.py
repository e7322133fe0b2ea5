"""Who an image is shared with: its owner offers, the other project accepts or rejects."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.errors import Conflict, Forbidden, NotFound, TooLarge
from app.models import Image, ImageMember
from app.store import images

PENDING, ACCEPTED, REJECTED = "pending", "accepted", "rejected"
STATUSES = (PENDING, ACCEPTED, REJECTED)
SHARED = "shared"
LIMIT = 128
"""Members of an image, as in Glance."""


def members(session: Session, caller: Caller, image_id: str) -> list[ImageMember]:
    """All members for the image's owner, and itself for a member.

    Raises NotFound, and Forbidden when the image's visibility is not `shared`.
    """
    image = _shared(images.get(session, caller, image_id))
    query = select(ImageMember).where(ImageMember.image_id == image_id)
    if not _owns(caller, image):
        query = query.where(ImageMember.project_id == caller.project_id)
    return list(session.scalars(query.order_by(ImageMember.created_at, ImageMember.project_id)))


def member(
    session: Session, caller: Caller, image_id: str, project_id: str, *, lock: bool = False
) -> ImageMember:
    """One of them, its row locked for a change if asked.

    Raises as `members`, and NotFound for another's membership.
    """
    image = _shared(images.get(session, caller, image_id))
    found = session.get(ImageMember, (image_id, project_id), with_for_update=lock)
    if found is None or not (_owns(caller, image) or project_id == caller.project_id):
        raise NotFound(f"Image {image_id} has no member {project_id}.")
    return found


def add(session: Session, caller: Caller, image_id: str, project_id: str) -> ImageMember:
    """Offer an image to a project.

    Raises Conflict when it has been offered already, TooLarge when the image has LIMIT members,
    Forbidden when it is not the caller's or not shared.
    """
    _shared(images.for_change(session, caller, image_id))
    if session.get(ImageMember, (image_id, project_id)) is not None:
        raise Conflict(f"Member {project_id} is already a member of image {image_id}.")
    count = select(func.count()).where(ImageMember.image_id == image_id)
    if (session.scalar(count) or 0) >= LIMIT:
        raise TooLarge(f"The limit has been exceeded: an image has at most {LIMIT} members.")
    made = ImageMember(image_id=image_id, project_id=project_id, status=PENDING)
    session.add(made)
    session.flush()
    session.refresh(made)
    return made


def answer(
    session: Session, caller: Caller, image_id: str, project_id: str, status: str
) -> ImageMember:
    """What the member makes of the offer: it alone says so, or an administrator for it."""
    found = member(session, caller, image_id, project_id, lock=True)
    if project_id != caller.project_id and not caller.is_admin:
        raise Forbidden(f"Only project {project_id} itself may accept or reject image {image_id}.")
    found.status = status
    session.flush()
    session.refresh(found)
    return found


def remove(session: Session, caller: Caller, image_id: str, project_id: str) -> None:
    """Take the offer back. Raises as `add`, and NotFound when there is none."""
    _shared(images.for_change(session, caller, image_id))
    found = session.get(ImageMember, (image_id, project_id))
    if found is None:
        raise NotFound(f"Image {image_id} has no member {project_id}.")
    session.delete(found)


def _owns(caller: Caller, image: Image) -> bool:
    return caller.is_admin or image.owner == caller.project_id


def _shared(image: Image) -> Image:
    if image.visibility != SHARED:
        raise Forbidden(f"Only shared images have members; image {image.id} is {image.visibility}.")
    return image
