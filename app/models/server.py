"""Servers, with copies of all that building one needs."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, new_id, now


class Server(Base):
    """A server as its owner sees it. `vm_state` and `task_state` are set by `store` alone."""

    __tablename__ = "servers"
    __table_args__ = (
        Index("ix_servers_project_listing", "project_id", "deleted_at", "created_at", "id"),
        Index("ix_servers_host", "host"),
        Index(
            "ix_servers_alive",
            "vm_state",
            sqlite_where=text("deleted_at IS NULL"),
            postgresql_where=text("deleted_at IS NULL"),
        ),
        Index(
            "ix_servers_gone",
            "deleted_at",
            sqlite_where=text("deleted_at IS NOT NULL"),
            postgresql_where=text("deleted_at IS NOT NULL"),
        ),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(String(64))
    user_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str | None] = mapped_column(String(255))
    hostname: Mapped[str] = mapped_column(String(255))
    reservation_id: Mapped[str] = mapped_column(String(32))
    launch_index: Mapped[int] = mapped_column(default=0)

    vm_state: Mapped[str] = mapped_column(String(32))
    task_state: Mapped[str | None] = mapped_column(String(48))
    power_state: Mapped[int] = mapped_column(default=0)
    fence: Mapped[int] = mapped_column(default=0)
    host: Mapped[str | None] = mapped_column(String(255))
    locked: Mapped[str | None] = mapped_column(String(16))
    locked_reason: Mapped[str | None] = mapped_column(String(255))
    fault: Mapped[dict[str, Any] | None] = mapped_column()

    flavor_id: Mapped[str] = mapped_column(String(255))
    flavor_name: Mapped[str] = mapped_column(String(255))
    vcpus: Mapped[int] = mapped_column()
    ram_mb: Mapped[int] = mapped_column()
    disk_gb: Mapped[int] = mapped_column()
    ephemeral_gb: Mapped[int] = mapped_column(default=0)
    swap_mb: Mapped[int] = mapped_column(default=0)
    extra_specs: Mapped[dict[str, Any]] = mapped_column(default=dict)

    image_id: Mapped[str | None] = mapped_column(String(36))
    key_name: Mapped[str | None] = mapped_column(String(255))
    public_key: Mapped[str | None] = mapped_column(Text)
    user_data: Mapped[str | None] = mapped_column(Text)
    files: Mapped[dict[str, Any]] = mapped_column(default=dict)
    image_properties: Mapped[dict[str, Any]] = mapped_column(default=dict)
    config_drive: Mapped[bool] = mapped_column(default=False)
    disk_config: Mapped[str] = mapped_column(String(6), default="MANUAL")
    scheduler_hints: Mapped[dict[str, Any]] = mapped_column(default=dict)
    meta: Mapped[dict[str, Any]] = mapped_column("metadata", default=dict)
    availability_zone: Mapped[str | None] = mapped_column(String(255))
    forced_host: Mapped[str | None] = mapped_column(String(255))
    access_ipv4: Mapped[str | None] = mapped_column(String(39))
    access_ipv6: Mapped[str | None] = mapped_column(String(39))

    created_at: Mapped[float] = mapped_column(default=now())
    updated_at: Mapped[float] = mapped_column(default=now(), onupdate=now())
    launched_at: Mapped[float | None] = mapped_column()
    terminated_at: Mapped[float | None] = mapped_column()
    deleted_at: Mapped[float | None] = mapped_column()


class ServerNic(Base):
    """What a create asked for: one network each, in order; the claim makes its port.

    Unless it brought one, which is the server's from then on; `tag` is the device's name for the
    guest.
    """

    __tablename__ = "server_nics"

    server_id: Mapped[str] = mapped_column(
        ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True
    )
    position: Mapped[int] = mapped_column(primary_key=True)
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"))
    fixed_ip: Mapped[str | None] = mapped_column(String(39))
    port_id: Mapped[str | None] = mapped_column(String(36))
    tag: Mapped[str | None] = mapped_column(String(60))


class ServerTag(Base):
    """A tag of a server."""

    __tablename__ = "server_tags"
    __table_args__ = (Index("ix_server_tags_tag", "tag"),)

    server_id: Mapped[str] = mapped_column(
        ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True
    )
    tag: Mapped[str] = mapped_column(String(60), primary_key=True)
