"""One mechanism for registration, power sync, audit and return: a host's inventory against rows.

The host never decides what to destroy. Here that is decided only on positive evidence: the
server's row says that it is gone from there, and nothing unfinished names that host.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from app import logs
from app.config import settings
from app.domain import states
from app.domain.guest import CRASHED, SHUTDOWN
from app.errors import Conflict
from app.models import Action, Host, Server
from app.store import actions, cleanups, hosts, plans, residents, servers
from app.store.database import transaction
from app.tasks import board
from app.tasks.board import Entry, Posting

log = logs.get(__name__)
LOST = "guest_lost"


def reconcile(name: str) -> list[Action]:
    """Bring rows in line with the host's newest inventory; returns actions to ring."""
    posting = board.inventory(name)
    if posting is None:
        return []
    with transaction() as session:
        if posting.cloud_id != plans.cloud_id(session):
            return []
        try:
            host = hosts.register(session, name, posting.host_uuid, _facts(session, posting))
        except Conflict as error:
            log.error("registration refused", host=name, reason=error.message)
            return []
        if posting.session != host.session:
            return []
        begun = _compare(session, host, posting)
        if posting.complete:
            host.generation, host.generation_session = posting.generation, posting.session
            hosts.set_state(session, name, hosts.RECONCILING, hosts.UP)
    return begun


def _facts(session: Session, posting: Posting) -> dict[str, object]:
    """The host row's columns as the inventory gives them; ratios and session only at first."""
    facts: dict[str, object] = dict(posting.facts)
    facts["boot_id"] = posting.boot_id
    if hosts.get(session, posting.host) is None:
        configured = settings()
        facts |= {
            "session": posting.session,
            "state": hosts.RECONCILING,
            "cpu_ratio": configured.cpu_ratio,
            "ram_ratio": configured.ram_ratio,
            "disk_ratio": configured.disk_ratio,
            "reserved_ram_mb": configured.reserved_ram_mb,
        }
    return facts


def _compare(session: Session, host: Host, posting: Posting) -> list[Action]:
    begun: list[Action] = []
    request_id = f"reconcile-{host.name}-{posting.session[:8]}-{posting.generation}"
    for entry in posting.guests:
        begun += _guest(session, host, entry, request_id)
    present = {entry.server_id for entry in posting.guests}
    for server_id, fence in posting.leftovers:
        if server_id not in present:
            _remove_if_not_ours(session, host, server_id, fence)
    if posting.complete:
        _missing(session, host, present, posting)
    return begun


def _guest(session: Session, host: Host, entry: Entry, request_id: str) -> list[Action]:
    server = residents.lock(session, entry.server_id)
    if server is None or server.fence < entry.fence:
        log.error(
            "the host knows more of this server than the database does: nothing is touched; was "
            "the database restored from a backup?",
            server_id=entry.server_id,
            host=host.name,
            host_fence=entry.fence,
        )
        return []
    if server.deleted_at is not None or server.host != host.name:
        _remove_if_not_ours(session, host, entry.server_id, entry.fence)
        return []
    residents.found(session, server.id)
    if entry.busy or actions.unfinished(session, server.id) is not None:
        return []
    if entry.fence < server.fence:
        begun = servers.sync(session, server, f"{request_id}-{server.id}")
    else:
        begun = _power(session, server, entry, f"{request_id}-{server.id}")
    return [begun] if begun else []


def _power(session: Session, server: Server, entry: Entry, request_id: str) -> Action | None:
    """An idle server at the host's own fence: what its guest did counts."""
    off = entry.power_state in (SHUTDOWN, CRASHED)
    if server.vm_state == states.ACTIVE and off:
        if entry.restart:
            return servers.begin(session, server, "start", request_id)
        server.vm_state, server.power_state = states.STOPPED, entry.power_state
        log.info("the guest stopped by itself", server_id=server.id)
    elif server.vm_state == states.STOPPED and entry.power_state == 1:
        server.vm_state, server.power_state = states.ACTIVE, entry.power_state
        log.info("the guest was started on its host", server_id=server.id)
    elif server.power_state != entry.power_state:
        server.power_state = entry.power_state
    return None


def _remove_if_not_ours(session: Session, host: Host, server_id: str, fence: int) -> None:
    """Have the host remove what it has of a server that is elsewhere, or nowhere."""
    server = residents.lock(session, server_id)
    if server is None or server.fence < fence:
        return
    running = actions.unfinished(session, server_id)
    here = server.host == host.name and server.deleted_at is None
    if here or (running is not None and running.host == host.name):
        return
    if not residents.has_cleanup(session, server_id, host.name):
        log.info("removing what moved", server_id=server_id, host=host.name)
        cleanups.owe(session, server, host.name)


def _missing(session: Session, host: Host, present: set[str], posting: Posting) -> None:
    """A guest that two different generations do not show is lost; its claim is kept."""
    for server in residents.of_host(session, host.name):
        if server.id in present or actions.unfinished(session, server.id) is not None:
            continue
        if server.vm_state not in (states.ACTIVE, states.STOPPED):
            continue
        if residents.missed_before(session, server, posting.session, posting.generation):
            server.vm_state, server.power_state = states.ERROR, 0
            server.fault = {
                "code": 500,
                "reason": LOST,
                "message": f"guest lost on host {host.name}: rebuild or delete the server",
            }
            log.error("guest lost on host", server_id=server.id, host=host.name)
