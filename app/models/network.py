"""Networks, subnets and ports. Addresses are allocated here, centrally."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, new_id, now


class Network(Base):
    """A network; `shared` ones serve every project, `is_default` marks the one used unasked."""

    __tablename__ = "networks"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text, default="")
    admin_state_up: Mapped[bool] = mapped_column(default=True)
    shared: Mapped[bool] = mapped_column(default=False)
    is_default: Mapped[bool] = mapped_column(default=False)
    mtu: Mapped[int] = mapped_column(default=1500)
    created_at: Mapped[float] = mapped_column(default=now())
    updated_at: Mapped[float] = mapped_column(default=now(), onupdate=now())


class Subnet(Base):
    """An IPv4 subnet with DHCP; addresses come from `pool_start` to `pool_end`, both included."""

    __tablename__ = "subnets"
    __table_args__ = (Index("ix_subnets_network_id", "network_id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id", ondelete="CASCADE"))
    project_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255), default="")
    cidr: Mapped[str] = mapped_column(String(64))
    gateway_ip: Mapped[str | None] = mapped_column(String(39))
    pool_start: Mapped[str] = mapped_column(String(39))
    pool_end: Mapped[str] = mapped_column(String(39))
    dns: Mapped[list[str]] = mapped_column(default=list)
    enable_dhcp: Mapped[bool] = mapped_column(default=True)
    next_offset: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[float] = mapped_column(default=now())
    updated_at: Mapped[float] = mapped_column(default=now(), onupdate=now())


class Port(Base):
    """One interface of a server: its MAC and its address, kept until its host let go of both."""

    __tablename__ = "ports"
    __table_args__ = (
        UniqueConstraint("subnet_id", "address"),
        UniqueConstraint("network_id", "mac"),
        Index("ix_ports_server_id", "server_id"),
        Index("ix_ports_project_id", "project_id"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(String(64))
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"))
    subnet_id: Mapped[str] = mapped_column(ForeignKey("subnets.id"))
    server_id: Mapped[str | None] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(default=0)
    name: Mapped[str] = mapped_column(String(255), default="")
    mac: Mapped[str] = mapped_column(String(17))
    address: Mapped[str] = mapped_column(String(39))
    created_at: Mapped[float] = mapped_column(default=now())
    updated_at: Mapped[float] = mapped_column(default=now(), onupdate=now())
