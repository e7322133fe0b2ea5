"""Networks, subnets and ports. Addresses are allocated here, centrally."""

from __future__ import annotations

import ipaddress
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from app.models.base import Base, new_id, now


class Network(Base):
    """A network; `shared` ones serve every project, `is_default` marks the one used unasked.

    `network_type` is `nat` for one that every host leads out by itself, `local` for one that only
    a router leads out; other types of Neutron's are recorded, and mean `local`. `external` ones
    have the addresses that float, and no guests.
    """

    __tablename__ = "networks"

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255))
    description: Mapped[str] = mapped_column(Text, default="")
    admin_state_up: Mapped[bool] = mapped_column(default=True)
    shared: Mapped[bool] = mapped_column(default=False)
    is_default: Mapped[bool] = mapped_column(default=False)
    external: Mapped[bool] = mapped_column(default=False)
    port_security_enabled: Mapped[bool] = mapped_column(default=True)
    network_type: Mapped[str] = mapped_column(String(16), default="local")
    physical_network: Mapped[str | None] = mapped_column(String(64))
    segmentation_id: Mapped[int | None] = mapped_column()
    mtu: Mapped[int] = mapped_column(default=1500)
    created_at: Mapped[float] = mapped_column(default=now())
    updated_at: Mapped[float] = mapped_column(default=now(), onupdate=now())


class Subnet(Base):
    """An IPv4 subnet; addresses come from `pool_start` to `pool_end`, both included, and from
    `more_pools`, each with `start` and `end`.

    `segment` names its bridge on every host: its network (None) for a network's first subnet, the
    subnet itself for others. `host_address` is that bridge's own address where no gateway's is.
    """

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
    more_pools: Mapped[list[Any]] = mapped_column(default=list)
    host_address: Mapped[str | None] = mapped_column(String(39))
    dns: Mapped[list[str]] = mapped_column(default=list)
    host_routes: Mapped[list[Any]] = mapped_column(default=list)
    description: Mapped[str] = mapped_column(Text, default="")
    segment: Mapped[str | None] = mapped_column(String(36))
    enable_dhcp: Mapped[bool] = mapped_column(default=True)
    next_offset: Mapped[int] = mapped_column(default=0)
    created_at: Mapped[float] = mapped_column(default=now())
    updated_at: Mapped[float] = mapped_column(default=now(), onupdate=now())

    @property
    def pools(self) -> list[dict[str, str]]:
        """All its pools."""
        return [{"start": self.pool_start, "end": self.pool_end}, *self.more_pools]

    @property
    def on_hosts(self) -> str:
        """The address of its bridge on every host, which no port ever gets."""
        first = str(ipaddress.ip_network(self.cidr)[1])
        return self.gateway_ip or self.host_address or first


class Port(Base):
    """An interface: its MAC and its address, if its network has any.

    One of a server's is kept until its host let go of both. `own` ones were made for their
    server and go with it. `device_id` and `device_owner` are what its maker said, or say which
    router or floating address it is for; a server's port is told by `server_id` alone.
    """

    __tablename__ = "ports"
    __table_args__ = (
        UniqueConstraint("subnet_id", "address"),
        UniqueConstraint("network_id", "mac"),
        Index("ix_ports_server_id", "server_id"),
        Index("ix_ports_project_id", "project_id"),
        Index("ix_ports_device_id", "device_id"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(String(64))
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"))
    subnet_id: Mapped[str | None] = mapped_column(ForeignKey("subnets.id"))
    server_id: Mapped[str | None] = mapped_column(ForeignKey("servers.id", ondelete="CASCADE"))
    position: Mapped[int] = mapped_column(default=0)
    own: Mapped[bool] = mapped_column(default=True)
    name: Mapped[str] = mapped_column(String(255), default="")
    description: Mapped[str] = mapped_column(Text, default="")
    admin_state_up: Mapped[bool] = mapped_column(default=True)
    mac: Mapped[str] = mapped_column(String(17))
    address: Mapped[str | None] = mapped_column(String(39))
    device_id: Mapped[str] = mapped_column(String(255), default="")
    device_owner: Mapped[str] = mapped_column(String(255), default="")
    host_id: Mapped[str] = mapped_column(String(255), default="")
    port_security_enabled: Mapped[bool] = mapped_column(default=True)
    address_pairs: Mapped[list[Any]] = mapped_column(default=list)
    tag: Mapped[str | None] = mapped_column(String(60))
    created_at: Mapped[float] = mapped_column(default=now())
    updated_at: Mapped[float] = mapped_column(default=now(), onupdate=now())


class Router(Base):
    """What leads networks out, and to each other; its interfaces are ports with its id."""

    __tablename__ = "routers"
    __table_args__ = (Index("ix_routers_project_id", "project_id"),)

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(String(64))
    name: Mapped[str] = mapped_column(String(255), default="")
    description: Mapped[str] = mapped_column(Text, default="")
    admin_state_up: Mapped[bool] = mapped_column(default=True)
    external_network_id: Mapped[str | None] = mapped_column(ForeignKey("networks.id"))
    enable_snat: Mapped[bool] = mapped_column(default=True)
    routes: Mapped[list[Any]] = mapped_column(default=list)
    created_at: Mapped[float] = mapped_column(default=now())
    updated_at: Mapped[float] = mapped_column(default=now(), onupdate=now())


class FloatingIp(Base):
    """An address of an external network, for a port of the project's or for none.

    A port of the external network holds the address: its `device_id` is this row's id.
    """

    __tablename__ = "floating_ips"
    __table_args__ = (
        UniqueConstraint("port_id"),
        UniqueConstraint("network_id", "address"),
        Index("ix_floating_ips_project_id", "project_id"),
    )

    id: Mapped[str] = mapped_column(String(36), primary_key=True, default=new_id)
    project_id: Mapped[str] = mapped_column(String(64))
    network_id: Mapped[str] = mapped_column(ForeignKey("networks.id"))
    address: Mapped[str] = mapped_column(String(39))
    port_id: Mapped[str | None] = mapped_column(ForeignKey("ports.id", ondelete="SET NULL"))
    router_id: Mapped[str | None] = mapped_column(ForeignKey("routers.id", ondelete="SET NULL"))
    description: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[float] = mapped_column(default=now())
    updated_at: Mapped[float] = mapped_column(default=now(), onupdate=now())


class HostNetworking(Base):
    """How far a host is with what guests' networking is to be: behind while applied < wanted."""

    __tablename__ = "host_networking"

    host: Mapped[str] = mapped_column(String(255), primary_key=True)
    wanted: Mapped[int] = mapped_column(default=0)
    applied: Mapped[int] = mapped_column(default=0)
    next_ring_at: Mapped[float] = mapped_column(default=now())
    rings: Mapped[int] = mapped_column(default=0)
    fault: Mapped[str] = mapped_column(Text, default="")
