"""The cloud itself."""

from __future__ import annotations

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, now


class Cloud(Base):
    """One row, made at the first start: the id that everything on a host bears.

    `hosts_forgotten` counts the hosts that were removed: who keeps them in memory reads all anew.
    `aggregates_revision` grows with every change of an aggregate, its metadata or its hosts.
    """

    __tablename__ = "clouds"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    created_at: Mapped[float] = mapped_column(default=now())
    hosts_forgotten: Mapped[int] = mapped_column(default=0, server_default="0")
    aggregates_revision: Mapped[int] = mapped_column(default=0, server_default="0")
