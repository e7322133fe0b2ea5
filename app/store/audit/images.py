"""Image rows, against the files of the image store."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Image, now
from app.store import images

INCOMING = (images.SAVING, images.UPLOADING)


@dataclass(frozen=True)
class ImageRow:
    """An image; `unchanged` is for how many seconds its row has been as it is."""

    id: str
    status: str
    file_name: str | None
    size: int | None
    algorithm: str | None
    digest: str | None
    unchanged: float


def rows(session: Session) -> list[ImageRow]:
    """Every image, deleted ones too."""
    found = session.execute(
        select(
            Image.id,
            Image.status,
            Image.file_name,
            Image.size,
            Image.hash_algorithm,
            Image.hash_value,
            now() - Image.updated_at,
        ).order_by(Image.id)
    )
    return [ImageRow(*row) for row in found]


def is_deleted(session: Session, image_id: str) -> bool:
    """Whether an image's row is there and says that the image is deleted, so no file is."""
    image = session.scalars(
        select(Image).where(Image.id == image_id).with_for_update()
    ).one_or_none()
    return image is not None and image.status == images.DELETED and image.file_name is None
