"""Images that hosts are to have in their caches before any build asks for them."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, new_id, now

WAITING, CACHED, FAILED, SKIPPED = "waiting", "cached", "failed", "skipped"


class Precache(Base):
    """One image for one host, as it was last asked for; a new request after the end is a new id.

    `state` is waiting, cached, failed or skipped (the host took no part); `progress` is percent.
    `tries` counts what the host could not do, `rings` what it was not heard of since. `fault` has
    code and message.
    """

    __tablename__ = "precaches"
    __table_args__ = (
        UniqueConstraint("host", "image_id"),
        Index("ix_precaches_state", "state", "host"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    host: Mapped[str] = mapped_column(String(255))
    image_id: Mapped[str] = mapped_column(ForeignKey("images.id", ondelete="CASCADE"))
    request_id: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16), default=WAITING)
    progress: Mapped[int] = mapped_column(default=0)
    message: Mapped[str] = mapped_column(Text, default="")
    fault: Mapped[dict[str, Any] | None] = mapped_column()
    tries: Mapped[int] = mapped_column(default=0)
    rings: Mapped[int] = mapped_column(default=0)
    next_ring_at: Mapped[float] = mapped_column(default=now())
    requested_at: Mapped[float] = mapped_column(default=now())
    deadline: Mapped[float] = mapped_column()
    finished_at: Mapped[float | None] = mapped_column()
