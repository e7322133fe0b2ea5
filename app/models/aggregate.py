"""Host aggregates: sets of hosts that operators name, with metadata for the scheduler."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, now


class Aggregate(Base):
    """A set of hosts. Its zone, if it makes one, is `availability_zone` in the metadata.

    An id is never given twice. `updated_at` is None until the first change of name or metadata.
    """

    __tablename__ = "aggregates"
    __table_args__ = ({"sqlite_autoincrement": True},)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    name: Mapped[str] = mapped_column(String(255), unique=True)
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    created_at: Mapped[float] = mapped_column(default=now())
    updated_at: Mapped[float | None] = mapped_column()

    @property
    def zone(self) -> str | None:
        """The availability zone that its hosts are in; None when it makes none."""
        return self.meta.get("availability_zone")


class AggregateHost(Base):
    """A host in an aggregate."""

    __tablename__ = "aggregate_hosts"

    aggregate_id: Mapped[int] = mapped_column(
        ForeignKey("aggregates.id", ondelete="CASCADE"), primary_key=True
    )
    host: Mapped[str] = mapped_column(
        ForeignKey("hosts.name", ondelete="CASCADE"), primary_key=True, index=True
    )
