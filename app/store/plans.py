"""What a host stage needs, read from the rows: the build plan and its image."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.domain.message import BuildPlan, Nic
from app.domain.resources import Resources
from app.models import Action, Cloud, Host, Image, Server
from app.store import addresses, host_networking


def cloud_id(session: Session) -> str:
    """The cloud's id, read once for each session: it never changes."""
    if "cloud_id" not in session.info:
        session.info["cloud_id"] = session.scalars(select(Cloud.id)).one()
    return str(session.info["cloud_id"])


def look_ahead(
    session: Session, moved: Sequence[tuple[Action, Server]], with_plan: Collection[str]
) -> None:
    """Read at once what the messages of these actions are made of; for a session that only reads.

    Those at the stages `with_plan` carry their server's plan.
    """
    hosts = {action.host for action, _ in moved}
    planned = [server for action, server in moved if action.stage in with_plan]
    images = {server.image_id for server in planned}
    # The session keeps them: else the identity map would let go of them.
    session.info["looked_ahead"] = [
        *session.scalars(select(Host).where(Host.name.in_(hosts))),
        *(session.scalars(select(Image).where(Image.id.in_(images))) if planned else ()),
    ]
    if planned:
        host_networking.look_ahead(session, planned)
        addresses.look_ahead(session, [server.id for server in planned])


def image_of(session: Session, server: Server) -> Image | None:
    """The server's image row, also when it was deleted since."""
    return image(session, server.image_id)


def image(session: Session, image_id: str | None) -> Image | None:
    """An image's row, also when it was deleted since."""
    return session.get(Image, image_id) if image_id else None


def build_plan(session: Session, server: Server) -> BuildPlan:
    """The server's plan without its image source, which only a build needs."""
    networking = host_networking.of_server(session, server)
    nics = tuple(
        Nic(
            port_id=port.id,
            mac=port.mac,
            address=str(port.address),
            network_id=network.id,
            network_name=network.name,
            cidr=subnet.cidr,
            gateway=subnet.gateway_ip,
            dns=tuple(subnet.dns),
            mtu=network.mtu,
            segment=subnet.segment or "",
            host_address=subnet.on_hosts,
            nat=network.network_type == "nat",
            dhcp=subnet.enable_dhcp,
            routes=tuple((one["destination"], one["nexthop"]) for one in subnet.host_routes),
            tag=port.tag,
            secured=port.port_security_enabled,
        )
        for port, subnet, network in addresses.of_server(session, server.id)
    )
    return BuildPlan(
        server_id=server.id,
        project_id=server.project_id,
        user_id=server.user_id,
        fence=server.fence,
        name=server.name,
        hostname=server.hostname,
        flavor_name=server.flavor_name,
        resources=Resources(server.vcpus, server.ram_mb, server.disk_gb),
        image=None,
        nics=nics,
        availability_zone=server.availability_zone or "nova",
        metadata=dict(server.meta),
        user_data=server.user_data,
        files=dict(server.files),
        key_name=server.key_name,
        public_key=server.public_key,
        launch_index=server.launch_index,
        reservation_id=server.reservation_id,
        networking=networking,
    )
