"""One mechanism for registration, power sync, audit and return: a host's inventory against rows.

The host never decides what to destroy. Here that is decided only on positive evidence: the
server's row says that it is gone from there, and nothing unfinished names that host.
"""

from __future__ import annotations

from sqlalchemy.orm import Session

from app import logs
from app.config import settings
from app.domain import states
from app.domain.advice import advised
from app.domain.guest import CRASHED, SHUTDOWN
from app.domain.message import Fault
from app.errors import Conflict
from app.models import Action, Server
from app.store import actions, cleanups, endings, hosts, plans, residents, servers
from app.store.database import clock, reading, transaction
from app.tasks import board
from app.tasks.board import Entry, Posting
from app.tasks.control.inplace import synced_state

log = logs.get(__name__)
LOST = "guest_lost"
RESTARTED = {states.ACTIVE: "start", states.PAUSED: "pause", states.RESCUED: "start"}
"""What makes a guest that its host's restart shut off be as its server's vm_state has it."""
TOLD = frozenset(
    ("hostname", "address", "vcpus", "ram_mb", "disk_gb", "booted_at", "cpu_model")
    + ("hypervisor_type", "hypervisor_version", "facts")
)
"""The columns of its row that a host tells; a newer one may tell more."""


def reconcile(name: str) -> list[Action]:
    """Bring rows in line with the host's newest inventory; returns actions to ring."""
    with reading() as session:
        asked = clock(session)
    posting = board.inventory(name)
    if posting is None:
        return []
    if not _register(posting):
        return []
    with transaction() as session:
        if hosts.is_reconciled(session, name, posting.session, posting.generation):
            # Rung again while it waited. Since then guests were told to change: what is old by
            # now would only make their servers ask them how they are.
            return []
        begun = _compare(session, posting, asked)
        if posting.complete:
            # Last: servers are locked before hosts everywhere.
            hosts.reconciled(session, name, posting.session, posting.generation)
    return begun


def _register(posting: Posting) -> bool:
    """Make or update the host's row; False when the inventory is not to be compared."""
    with transaction() as session:
        if posting.cloud_id != plans.cloud_id(session):
            return False
        try:
            facts = _facts(session, posting)
            host = hosts.register(session, posting.host, posting.host_uuid, facts)
        except Conflict as error:
            log.error("registration refused", host=posting.host, reason=error.message)
            return False
        # What an operator declared down counts for nothing until it is taken back.
        return posting.session == host.session and not host.forced_down


def _facts(session: Session, posting: Posting) -> dict[str, object]:
    """The host row's columns as the inventory gives them; ratios and session only at first."""
    facts: dict[str, object] = {n: v for n, v in posting.facts.items() if n in TOLD}
    facts["boot_id"] = posting.boot_id
    if hosts.get(session, posting.host) is None:
        configured = settings()
        facts |= {
            "session": posting.session,
            "speaks": posting.speaks,
            "state": hosts.RECONCILING,
            "cpu_ratio": configured.cpu_ratio,
            "ram_ratio": configured.ram_ratio,
            "disk_ratio": configured.disk_ratio,
            "reserved_ram_mb": configured.reserved_ram_mb,
        }
    return facts


def _compare(session: Session, posting: Posting, asked: float) -> list[Action]:
    begun: list[Action] = []
    request_id = f"reconcile-{posting.host}-{posting.session[:8]}-{posting.generation}"
    present = {entry.server_id for entry in posting.guests}
    left = {server_id: fence for server_id, fence in posting.leftovers if server_id not in present}
    rows = residents.lock(session, posting.host, present | set(left))
    for entry in posting.guests:
        begun += _guest(session, posting.host, entry, rows.get(entry.server_id), request_id)
    for server_id, fence in left.items():
        _remove_if_not_ours(session, posting.host, rows.get(server_id), fence)
    if posting.complete:
        gone = [server for server in rows.values() if server.id not in present]
        # A guest may have been built since the inventory was made.
        _missing(session, [server for server in gone if server.updated_at < asked], posting)
    return begun


def _guest(
    session: Session, host: str, entry: Entry, server: Server | None, request_id: str
) -> list[Action]:
    if server is None or server.fence < entry.fence:
        log.error(
            "the host knows more of this server than the database does: nothing is touched; was "
            "the database restored from a backup?",
            server_id=entry.server_id,
            host=host,
            host_fence=entry.fence,
        )
        return []
    if entry.busy:
        return []
    if server.deleted_at is not None or server.host != host:
        _remove_if_not_ours(session, host, server, entry.fence)
        return []
    residents.found(session, server.id)
    if actions.unfinished(session, server.id) is not None:
        return []
    to_start = entry.restart and server.vm_state in RESTARTED
    if entry.fence < server.fence and not to_start:
        begun = servers.sync(session, server, f"{request_id}-{server.id}")
    else:
        begun = _power(session, server, entry, f"{request_id}-{server.id}")
    return [begun] if begun else []


def _power(session: Session, server: Server, entry: Entry, request_id: str) -> Action | None:
    """An idle server at the host's own fence: what its guest did counts."""
    off = entry.power_state in (SHUTDOWN, CRASHED)
    if off and entry.restart and (kind := RESTARTED.get(server.vm_state)):
        return servers.begin(session, server, kind, request_id)
    vm_state = synced_state(server, entry.power_state)
    if vm_state is not None:
        log.info("the guest did it by itself", server_id=server.id, became=vm_state)
        server.vm_state = vm_state
    if server.power_state != entry.power_state:
        server.power_state = entry.power_state
    return None


def _remove_if_not_ours(session: Session, host: str, server: Server | None, fence: int) -> None:
    """Have the host remove what it has of a server that is elsewhere, or nowhere."""
    if server is None or server.fence < fence:
        return
    running = actions.unfinished(session, server.id)
    here = server.host == host and server.deleted_at is None
    if here or (running is not None and running.host == host):
        return
    if not residents.has_cleanup(session, server.id, host):
        log.info("removing what moved", server_id=server.id, host=host)
        if running is None:
            server.fence += 1  # above whatever the host last heard of it, its tombstone too
        cleanups.owe(session, server, host)


def _missing(session: Session, gone: list[Server], posting: Posting) -> None:
    """A guest that two different generations do not show is lost; its claim is kept."""
    for server in gone:
        mine = server.host == posting.host and server.deleted_at is None
        if not mine or server.vm_state not in states.WITH_GUEST:
            continue
        if actions.unfinished(session, server.id) is not None:
            continue
        if residents.missed_before(session, server, posting.session, posting.generation):
            fault = advised(Fault(LOST, "the guest is gone from its host"), "audit", posting.host)
            endings.show_error(server, fault)
            server.power_state = 0
            log.error("guest lost on host", server_id=server.id, host=posting.host)
