"""Hosts, what is claimed on them, and what they still owe."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, change_mark, new_id, now


class Host(Base):
    """A hypervisor. `state` is up, down, reconciling or driver_down; use is SUM(allocations).

    RAM in MiB, disk in GiB. `generation` is the inventory that was last reconciled, in `session`.
    `number` is the id that Nova's API shows below 2.53, `speaks` the newest message version that
    its worker knows. `zone` and the ratios are those in force: where an aggregate sets a ratio, the
    host's own is kept in `own_…`, which is None otherwise. `servers` counts the allocations,
    `facts` is a JSON object of what the hypervisor can do (`traits`, `cpu_info`,
    `supported_instances`). Every change of the row moves `changed`, from which schedulers see what
    is new; who changes nothing that they look at keeps it.
    """

    __tablename__ = "hosts"
    __table_args__ = (
        CheckConstraint("used_vcpus >= 0 AND used_ram_mb >= 0 AND used_disk_gb >= 0", name="use"),
        Index("ix_hosts_changed", "changed"),
    )

    name: Mapped[str] = mapped_column(String(255), primary_key=True)
    uuid: Mapped[str] = mapped_column(String(36), unique=True)
    number: Mapped[int] = mapped_column(unique=True)
    session: Mapped[str] = mapped_column(String(36))
    speaks: Mapped[int] = mapped_column(default=1, server_default="1")
    state: Mapped[str] = mapped_column(String(16))
    enabled: Mapped[bool] = mapped_column(default=True)
    disabled_reason: Mapped[str | None] = mapped_column(String(255))
    forced_down: Mapped[bool] = mapped_column(default=False)
    zone: Mapped[str] = mapped_column(String(255), default="nova")
    address: Mapped[str] = mapped_column(String(255), default="")
    hostname: Mapped[str] = mapped_column(String(255), default="")
    hypervisor_type: Mapped[str] = mapped_column(String(32), default="")
    hypervisor_version: Mapped[int] = mapped_column(default=0)
    cpu_model: Mapped[str] = mapped_column(String(255), default="")

    vcpus: Mapped[int] = mapped_column()
    ram_mb: Mapped[int] = mapped_column()
    disk_gb: Mapped[int] = mapped_column()
    reserved_ram_mb: Mapped[int] = mapped_column(default=0)
    cpu_ratio: Mapped[float] = mapped_column()
    ram_ratio: Mapped[float] = mapped_column()
    disk_ratio: Mapped[float] = mapped_column()
    own_cpu_ratio: Mapped[float | None] = mapped_column()
    own_ram_ratio: Mapped[float | None] = mapped_column()
    own_disk_ratio: Mapped[float | None] = mapped_column()
    used_vcpus: Mapped[int] = mapped_column(default=0)
    used_ram_mb: Mapped[int] = mapped_column(default=0)
    used_disk_gb: Mapped[int] = mapped_column(default=0)
    servers: Mapped[int] = mapped_column(default=0, server_default="0")
    facts: Mapped[str] = mapped_column(Text, default="{}", server_default="{}")

    generation: Mapped[int] = mapped_column(default=-1)
    generation_session: Mapped[str | None] = mapped_column(String(36))
    boot_id: Mapped[str | None] = mapped_column(String(64))
    booted_at: Mapped[float | None] = mapped_column()
    failed_builds: Mapped[int] = mapped_column(default=0)
    last_seen: Mapped[float] = mapped_column(default=now())
    created_at: Mapped[float] = mapped_column(default=now())
    changed: Mapped[int] = mapped_column(
        BigInteger, default=change_mark(), onupdate=change_mark(), server_default="0"
    )


class Allocation(Base):
    """What one server takes of one host."""

    __tablename__ = "allocations"
    __table_args__ = (Index("ix_allocations_host", "host"),)

    server_id: Mapped[str] = mapped_column(
        ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True
    )
    host: Mapped[str] = mapped_column(ForeignKey("hosts.name"), primary_key=True)
    vcpus: Mapped[int] = mapped_column()
    ram_mb: Mapped[int] = mapped_column()
    disk_gb: Mapped[int] = mapped_column()


class Cleanup(Base):
    """What a host must still remove of a server; it ends only by that host's word "absent"."""

    __tablename__ = "cleanups"
    __table_args__ = (
        UniqueConstraint("server_id", "host"),
        Index("ix_cleanups_next_ring_at", "next_ring_at"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    server_id: Mapped[str] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"))
    host: Mapped[str] = mapped_column(String(255))
    fence: Mapped[int] = mapped_column()
    next_ring_at: Mapped[float] = mapped_column()
    rings: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[float] = mapped_column(default=now())


class MissingGuest(Base):
    """A guest that its host's inventory did not show: the generation that first missed it."""

    __tablename__ = "missing_guests"

    server_id: Mapped[str] = mapped_column(
        ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True
    )
    fence: Mapped[int] = mapped_column()
    session: Mapped[str] = mapped_column(String(36))
    generation: Mapped[int] = mapped_column()
