"""Security groups: what may reach a port, and what it may reach."""

from __future__ import annotations

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, new_id, now


class SecurityGroup(Base):
    """A set of rules that ports are in; each project has one called `default`."""

    __tablename__ = "security_groups"
    __table_args__ = (Index("ix_security_groups_project_id", "project_id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[float] = mapped_column(default=now())
    updated_at: Mapped[float] = mapped_column(default=now(), onupdate=now())


class SecurityRule(Base):
    """What one rule lets pass; None is anything. For ICMP the ports are type and code."""

    __tablename__ = "security_group_rules"
    __table_args__ = (
        Index("ix_security_group_rules_group_id", "group_id"),
        Index("ix_security_group_rules_remote_group_id", "remote_group_id"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(String(64))
    group_id: Mapped[str] = mapped_column(ForeignKey("security_groups.id", ondelete="CASCADE"))
    direction: Mapped[str] = mapped_column(String(8))
    ethertype: Mapped[str] = mapped_column(String(4), default="IPv4")
    protocol: Mapped[str | None] = mapped_column(String(16))
    port_min: Mapped[int | None] = mapped_column()
    port_max: Mapped[int | None] = mapped_column()
    remote_ip: Mapped[str | None] = mapped_column(String(64))
    remote_group_id: Mapped[str | None] = mapped_column(
        ForeignKey("security_groups.id", ondelete="CASCADE")
    )
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[float] = mapped_column(default=now())
    updated_at: Mapped[float] = mapped_column(default=now(), onupdate=now())


class PortGroup(Base):
    """That a port is in a security group."""

    __tablename__ = "port_security_groups"
    __table_args__ = (Index("ix_port_security_groups_group_id", "group_id"),)

    port_id: Mapped[str] = mapped_column(
        ForeignKey("ports.id", ondelete="CASCADE"), primary_key=True
    )
    group_id: Mapped[str] = mapped_column(ForeignKey("security_groups.id"), primary_key=True)


class ServerSecurityGroup(Base):
    """A group for the ports that are made for a server: those it has, and those still to come."""

    __tablename__ = "server_security_groups"
    __table_args__ = (Index("ix_server_security_groups_group_id", "group_id"),)

    server_id: Mapped[str] = mapped_column(
        ForeignKey("servers.id", ondelete="CASCADE"), primary_key=True
    )
    group_id: Mapped[str] = mapped_column(
        ForeignKey("security_groups.id", ondelete="CASCADE"), primary_key=True
    )
