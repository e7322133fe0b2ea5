"""Claims: capacity taken on a host, by compare-and-swap; used == SUM(allocations) always."""

from __future__ import annotations

from sqlalchemy import Float, cast, delete, select, update
from sqlalchemy.orm import Session

from app.domain.resources import Resources
from app.models import Allocation, Host
from app.store.database import changed


def take(session: Session, server_id: str, host: str, wanted: Resources) -> bool:
    """Claim `wanted` on `host`; False when it is not up and enabled, or has no room."""
    claim = (
        update(Host)
        .where(
            Host.name == host,
            Host.state == "up",
            Host.enabled.is_(True),
            Host.forced_down.is_(False),
            Host.used_vcpus + wanted.vcpus <= cast(Host.vcpus, Float) * Host.cpu_ratio,
            Host.used_ram_mb + wanted.ram_mb
            <= cast(Host.ram_mb - Host.reserved_ram_mb, Float) * Host.ram_ratio,
            Host.used_disk_gb + wanted.disk_gb <= cast(Host.disk_gb, Float) * Host.disk_ratio,
        )
        .values(
            used_vcpus=Host.used_vcpus + wanted.vcpus,
            used_ram_mb=Host.used_ram_mb + wanted.ram_mb,
            used_disk_gb=Host.used_disk_gb + wanted.disk_gb,
        )
    )
    if changed(session, claim) == 0:
        return False
    session.add(
        Allocation(
            server_id=server_id,
            host=host,
            vcpus=wanted.vcpus,
            ram_mb=wanted.ram_mb,
            disk_gb=wanted.disk_gb,
        )
    )
    session.flush()
    return True


def release(session: Session, server_id: str, host: str) -> None:
    """Free what the server holds on `host`; nothing when it holds nothing there."""
    held = session.scalars(
        select(Allocation)
        .where(Allocation.server_id == server_id, Allocation.host == host)
        .with_for_update()
    ).first()
    if held is None:
        return
    session.execute(
        delete(Allocation).where(Allocation.server_id == server_id, Allocation.host == host)
    )
    session.execute(
        update(Host)
        .where(Host.name == host)
        .values(
            used_vcpus=Host.used_vcpus - held.vcpus,
            used_ram_mb=Host.used_ram_mb - held.ram_mb,
            used_disk_gb=Host.used_disk_gb - held.disk_gb,
        )
    )
