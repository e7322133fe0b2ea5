"""A task that can only wait tells what it waits for: a host that is away, or too old."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from app.models import Host
from app.store import hosts, ringing
from app.store.database import reading, transaction
from app.tasks import messages


def tell(rows: Iterable[Host]) -> None:
    """Write what they wait for into the unfinished actions of hosts that are sent nothing."""
    texts = {host.name: why for host in rows if (why := reason(host))}
    if not texts:
        return
    with reading() as session:
        untold = ringing.untold(session, texts)
    if not untold:
        return
    with transaction() as session:
        for host in untold:
            ringing.tell(session, host, texts[host])


def reason(host: Host) -> str | None:
    """What an action on this host waits for; None when it is sent its stages."""
    if host.forced_down:
        return f"waiting for host {host.name}, which an operator declared down"
    if host.state == hosts.DOWN:
        heard = datetime.fromtimestamp(host.last_seen, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return f"waiting for host {host.name}, which does not answer (last heard of at {heard})"
    if host.state == hosts.DRIVER_DOWN:
        return f"waiting for host {host.name}, whose hypervisor does not answer"
    if not messages.understands(host):
        return f"waiting: {messages.too_old(host)}"
    return None
