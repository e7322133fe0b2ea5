"""What an operator asks of hosts from the command line, in the manner of nova-manage."""

from __future__ import annotations

from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.models import Allocation, Host, now
from app.store.database import changed


def overview(session: Session) -> list[dict[str, Any]]:
    """Every host by name: its state, its use, and how many seconds ago it was heard of."""
    servers = (
        select(func.count())
        .where(Allocation.host == Host.name)
        .correlate(Host)
        .scalar_subquery()
        .label("servers")
    )
    rows = session.execute(
        select(Host, servers, (now() - Host.last_seen).label("age")).order_by(Host.name)
    )
    return [_row(host, count, age) for host, count, age in rows]


def enable(session: Session, name: str) -> None:
    """Let new servers be placed on the host again. Raises NotFound."""
    _set(session, name, enabled=True, disabled_reason=None)


def disable(session: Session, name: str, reason: str | None) -> None:
    """Place no new servers on the host; those it has run on. Raises NotFound."""
    _set(session, name, enabled=False, disabled_reason=reason)


def _set(session: Session, name: str, **values: Any) -> None:
    if changed(session, update(Host).where(Host.name == name).values(**values)) == 0:
        known = session.scalars(select(Host.name).order_by(Host.name).limit(20)).all()
        raise NotFound(f"no host {name!r}; there is {', '.join(known) or 'none yet'}")


def _row(host: Host, servers: int, age: float) -> dict[str, Any]:
    return {
        "name": host.name,
        "session": host.session,
        "state": "forced_down" if host.forced_down else host.state,
        "enabled": host.enabled,
        "disabled_reason": host.disabled_reason,
        "zone": host.zone,
        "address": host.address,
        "hypervisor": host.hypervisor_type,
        "servers": servers,
        "vcpus": int(host.vcpus * host.cpu_ratio),
        "used_vcpus": host.used_vcpus,
        "ram_mb": int((host.ram_mb - host.reserved_ram_mb) * host.ram_ratio),
        "used_ram_mb": host.used_ram_mb,
        "disk_gb": int(host.disk_gb * host.disk_ratio),
        "used_disk_gb": host.used_disk_gb,
        "seconds_since_seen": round(max(age, 0.0), 1),
    }
