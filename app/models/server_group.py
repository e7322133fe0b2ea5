"""Server groups: servers of a project that belong together, or apart."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, new_id, now


class ServerGroup(Base):
    """A group with one policy; `max_server_per_host` (for anti-affinity) is 1 when None."""

    __tablename__ = "server_groups"
    __table_args__ = (Index("ix_server_groups_listing", "project_id", "created_at", "id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255))
    policy: Mapped[str] = mapped_column(String(32))
    max_server_per_host: Mapped[int | None] = mapped_column()
    created_at: Mapped[float] = mapped_column(default=now())


class ServerGroupMember(Base):
    """A server in a group, from its acceptance on; deleted ones stay until they are purged."""

    __tablename__ = "server_group_members"

    server_id: Mapped[str] = mapped_column(
        ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True
    )
    group_id: Mapped[str] = mapped_column(
        ForeignKey("server_groups.id", ondelete="CASCADE"), index=True
    )
