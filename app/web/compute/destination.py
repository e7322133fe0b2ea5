"""Where a create wants its servers: a zone, and for administrators a host."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.errors import Invalid
from app.models import Host
from app.store import server_listing
from app.web.policy import require

_FORCED = "os_compute_api:servers:create:forced_host"
_REQUESTED = "compute:servers:create:requested_destination"
ASKS = (_FORCED, _REQUESTED)


@dataclass(frozen=True)
class Destination:
    """A zone and a host, or any."""

    zone: str | None = None
    host: str | None = None


def parse(session: Session, wanted: dict[str, Any]) -> Destination:
    """What `availability_zone`, `host` and `hypervisor_hostname` say.

    Raises Invalid, and Forbidden when somebody else than an administrator names a host.
    """
    zone, _, place = (wanted.get("availability_zone") or "").partition(":")
    host, _, node = place.partition(":")
    if host or node:
        require(_FORCED)
    asked = wanted.get("host"), wanted.get("hypervisor_hostname")
    if any(asked):
        require(_REQUESTED)
        if host or node:
            raise Invalid(
                "Invalid input for field server.availability_zone: it names a host, and so do "
                "host or hypervisor_hostname: only one may"
            )
        host, node = asked[0] or "", asked[1] or ""
    known = server_listing.zones(session)
    if zone and zone not in known and zone != "nova":
        raise Invalid("The requested availability zone is not available")
    hosts = [one for there in known.values() for one in there]
    return Destination(zone or None, _chosen(hosts, host, node) if host or node else None)


def _chosen(hosts: list[Host], host: str, node: str) -> str:
    for one in hosts:
        if host in ("", one.name) and node in ("", one.hostname):
            return one.name
    raise Invalid(f"Compute host {host or node} could not be found.")
