"""Workers: do those that should speak do so, and are they who they say?"""

from __future__ import annotations

from collections.abc import Iterator

from app.cli.doctor.evidence import Evidence
from app.cli.doctor.finding import Finding
from app.cli.doctor.postings import Posted
from app.store.audit.hosts import HostRow
from app.topology import topology


def check(seen: Evidence) -> list[Finding]:
    """Hosts against heartbeats and inventories, and the control plane's workers."""
    found: list[Finding] = []
    for server_id, host in seen.rows.unplaced:
        text = f"is on host {host}, which does not exist"
        todo = "nothing can be asked of it; delete it"
        found.append(Finding("server_on_no_host", f"server {server_id}", text, todo))
    posted = seen.posted
    if posted is None:
        todo = "requests are accepted meanwhile, and carried out when it is back: see its log"
        text = f"does not answer: {seen.away}. What hosts and workers tell was not looked at"
        return [*found, Finding("redis_away", "Redis", text, todo)]
    found += _control(posted)
    for row in seen.rows.hosts:
        found += [*_state(row), *_voice(row, posted)]
    found += _strangers(seen, posted)
    for machine, reason in sorted(posted.refusals.items()):
        todo = "give that machine a host name of its own"
        found.append(Finding("refused", f"machine {machine}", reason, todo, warning=True))
    return found


def _control(posted: Posted) -> Iterator[Finding]:
    for task in ("novella.schedule", "novella.settle"):
        queue = topology().queue(task)
        if not any(queue in one.queues for one in posted.controls):
            text = "no worker serves it: requests are accepted, and nothing becomes of them"
            todo = "start `celery -A app worker -Q scheduler,conductor`"
            yield Finding("no_worker", f"queue {queue}", text, todo)


def _state(row: HostRow) -> Iterator[Finding]:
    subject = f"host {row.name}"
    if row.forced_down:
        text, todo = "is down: an operator said so", "take that back when it is well again"
    elif row.state == "down":
        text, todo = "is down: its worker says nothing", "see its log; guests there may well run"
    elif row.state == "driver_down":
        text, todo = "its hypervisor does not answer", "see libvirtd's log there"
    elif row.state == "reconciling":
        text = "its inventory has not been compared yet, so nothing is placed there"
        todo = "when that lasts for minutes, see its worker's log"
    else:
        return
    yield Finding(f"host_{row.state}", subject, text, todo, warning=True)


def _voice(row: HostRow, posted: Posted) -> Iterator[Finding]:
    subject, beat = f"host {row.name}", posted.beats.get(row.name)
    if beat is None:
        if row.state != "down" and not row.forced_down:
            text = f"is {row.state} by its row, and has said nothing for two minutes"
            todo = "a sweep declares such a host down: see whether a scheduler worker runs"
            yield Finding("no_beat", subject, text, todo)
        return
    if beat.host_uuid != row.uuid:
        text = f"the machine {beat.host_uuid} speaks under its name; it is {row.uuid}"
        todo = "give that machine a name of its own: it does nothing under this one"
        yield Finding("second_machine", subject, text, todo)
    inventory = posted.inventories.get(row.name)
    if inventory is not None and not inventory.complete:
        text = "cannot list all it has, so nothing that is missing there is noticed"
        yield Finding("inventory_incomplete", subject, text, "see its worker's log")
    elif inventory is None and row.state == "up":
        text = "has posted no inventory, so what it has was not compared"
        todo = "look again in a minute; then see its worker's log"
        yield Finding("no_inventory", subject, text, todo, warning=True)


def _strangers(seen: Evidence, posted: Posted) -> Iterator[Finding]:
    known = {row.name for row in seen.rows.hosts}
    for name, beat in sorted(posted.beats.items()):
        if beat.cloud_id != seen.rows.cloud_id:
            text = f"speaks for the cloud {beat.cloud_id}; this one is {seen.rows.cloud_id}"
            todo = "two clouds cannot share a Redis database: give one of them another"
            yield Finding("foreign_host", f"host {name}", text, todo)
        elif name not in known:
            text = "speaks, and has not been registered"
            todo = "that takes seconds; when it lasts, see the scheduler's log"
            yield Finding("unregistered", f"host {name}", text, todo, warning=True)
