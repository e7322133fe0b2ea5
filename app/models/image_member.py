"""Projects that somebody's images are shared with."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, now


class ImageMember(Base):
    """A project that may use a shared image; `status` is what it made of the offer.

    The project need not exist: an owner learns nothing of others' projects by naming them.
    """

    __tablename__ = "image_members"
    __table_args__ = (Index("ix_image_members_project_id", "project_id", "status"),)

    image_id: Mapped[str] = mapped_column(
        String(36), ForeignKey("images.id", ondelete="CASCADE"), primary_key=True
    )
    project_id: Mapped[str] = mapped_column(String(64), primary_key=True)
    status: Mapped[str] = mapped_column(String(16), default="pending")
    created_at: Mapped[float] = mapped_column(default=now())
    updated_at: Mapped[float] = mapped_column(default=now(), onupdate=now())
