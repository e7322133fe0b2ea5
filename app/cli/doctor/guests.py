"""Guests and leftovers on hosts, against the servers. Nothing here ever destroys anything that
the rows do not know to be gone."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from app.cli.doctor.evidence import Evidence
from app.cli.doctor.finding import Finding, Fix
from app.domain import states
from app.domain.guest import RUNNING
from app.store.audit import residents
from app.store.audit.residents import Resident
from app.tasks.board import Entry, Posting

_BY_HAND = (
    "it may have been made after the backup that this database was restored from. Nothing removes "
    "it by itself. To keep what is on its disk, copy the disk on the host and make an image of it; "
    "then end and undefine the guest there (virsh; its uuid is that id) and delete its files"
)


def check(seen: Evidence) -> list[Finding]:
    """What every host that is up shows, against the rows."""
    found: list[Finding] = []
    runs: dict[str, list[str]] = {}
    for host, posting, _ in seen.compared():
        for entry in posting.guests:
            if entry.power_state == RUNNING:
                runs.setdefault(entry.server_id, []).append(host)
    for host, posting, age in seen.compared():
        for entry in posting.guests:
            found += _guest(seen, host, entry, age, runs.get(entry.server_id, []))
        found += [*_leftovers(seen, host, posting, age), *_missing(seen, host, posting, age)]
    return found


def _guest(
    seen: Evidence, host: str, entry: Entry, age: float, runs_on: list[str]
) -> Iterator[Finding]:
    server = seen.rows.residents.get(entry.server_id)
    subject = f"server {entry.server_id} on host {host}"
    if server is None:
        state = "runs" if entry.power_state == RUNNING else "is"
        text = f"a guest of it {state} there (fence {entry.fence}), and there is no such server"
        yield Finding("guest_unknown", subject, text, _BY_HAND)
    elif entry.fence > server.fence:
        yield _ahead(host, entry, server, subject)
    elif _stray(seen, server, host, age):
        twice = len(runs_on) > 1 and host in runs_on
        where = "is deleted" if server.deleted else f"is on {server.host or 'no host'}"
        text = f"a guest of it is there, though the server {where}, and no cleanup is owed"
        if twice:
            text = f"it runs twice: on {' and '.join(runs_on)}; the server {where}"
        code = "guest_twice" if twice else "guest_left"
        yield Finding(code, subject, text, f"let --fix remove it from {host}", _owe(server, host))


def _ahead(host: str, entry: Entry, server: Resident, subject: str) -> Finding:
    text = (
        f"the host knows fence {entry.fence} of it, the database {server.fence}: was the database "
        "restored from a backup?"
    )
    if not server.deleted and server.host == host:
        heal = partial(residents.raise_fence, server_id=server.id, host=host, known=entry.fence)
        todo = "until then every request on it fails with `stale`; the guest is left as it is"
        return Finding("guest_ahead", subject, text, todo, Fix("raises the server's fence", heal))
    where = "deleted" if server.deleted else f"on {server.host or 'no host'}"
    text += f" There the server is {where}, so it is not clear which is right"
    return Finding("guest_ahead_elsewhere", subject, text, _BY_HAND)


def _leftovers(seen: Evidence, host: str, posting: Posting, age: float) -> Iterator[Finding]:
    guests = {entry.server_id for entry in posting.guests}
    for server_id, fence in posting.leftovers:
        if server_id in guests:
            continue
        server = seen.rows.residents.get(server_id)
        subject = f"server {server_id} on host {host}"
        if server is None:
            text = "a disk or DHCP entry of it is there, and there is no such server"
            yield Finding("leftover_unknown", subject, text, _BY_HAND)
        elif _stray(seen, server, host, age) and fence <= server.fence:
            where = "is deleted" if server.deleted else f"is on {server.host or 'no host'}"
            text = f"a disk or DHCP entry of it is there, though the server {where}"
            todo = f"let --fix remove it from {host}"
            yield Finding("leftover", subject, text, todo, _owe(server, host))


def _missing(seen: Evidence, host: str, posting: Posting, age: float) -> Iterator[Finding]:
    shown = {entry.server_id for entry in posting.guests}
    for server in seen.rows.residents.values():
        here = server.host == host and not server.deleted and posting.complete
        lives = server.vm_state in states.WITH_GUEST
        if here and lives and server.id not in shown and seen.left_alone(server.id, age):
            text = f"is {server.vm_state}, and the host has no guest of it"
            todo = (
                "when the host's next inventory misses it too, it shows ERROR (guest_lost): delete "
                "it and create it again"
            )
            yield Finding("guest_missing", f"server {server.id} on host {host}", text, todo)


def _stray(seen: Evidence, server: Resident, host: str, age: float) -> bool:
    """Whether the rows say for sure that nothing of the server belongs on the host."""
    here = server.host == host and not server.deleted
    return not here and host not in server.owing and seen.left_alone(server.id, age)


def _owe(server: Resident, host: str) -> Fix:
    owe = partial(residents.owe, server_id=server.id, host=host)
    return Fix("has the host remove it", owe)
