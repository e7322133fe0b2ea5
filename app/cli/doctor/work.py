"""Requests under way, and what hosts owe."""

from __future__ import annotations

from functools import partial

from app.cli.doctor.evidence import Evidence
from app.cli.doctor.finding import Finding, Fix
from app.config import settings
from app.domain import states
from app.domain.message import DO
from app.store.audit import residents, work
from app.store.audit.work import UnderWay
from app.tasks.workflow import WORKFLOWS

OVERDUE_SECONDS = 60.0
FAR_SECONDS = 600.0
"""Rings are at most a minute apart: one that is later has been put off by a clock that jumped."""
DAY_SECONDS = 86400.0
_AWAY = ("down", "driver_down")


def check(seen: Evidence) -> list[Finding]:
    """Every unfinished action, servers that wait for none, and cleanups that do not end."""
    found: list[Finding] = []
    for one in seen.rows.under_way:
        found += _under_way(one)
    for idle in seen.rows.waiting:
        building = idle.vm_state == states.BUILDING
        found.append(
            Finding(
                "task_without_action",
                f"server {idle.server_id}",
                f"says that it is {idle.task_state or idle.vm_state}, and no request is under way",
                "nothing will ever end that: let --fix do it",
                Fix(
                    "shows it in ERROR, to be deleted" if building else "clears its task state",
                    partial(work.let_go, server_id=idle.server_id),
                ),
            )
        )
    return found + _cleanups(seen)


def _under_way(one: UnderWay) -> list[Finding]:
    what = f"{one.kind} {one.id} of server {one.server_id}"
    where = f" at {one.stage}" + (f" on host {one.host}" if one.host else "")
    if one.deleted:
        fix = Fix("ends it as cancelled", partial(work.end_after_delete, action_id=one.id))
        text = f"is unfinished{where}, though the server is deleted"
        return [Finding("action_of_deleted", what, text, "let --fix end it", fix)]
    if not _known(one):
        text = f"stands at {one.stage!r}, which no workflow has"
        todo = "bring all workers to one release; nothing rings this until then"
        return [Finding("unknown_stage", what, text, todo)]
    return [*_late(one, what, where), *_rung(one, what, where), *_shown(one, what)]


def _known(one: UnderWay) -> bool:
    try:
        return WORKFLOWS[one.kind].step(one.stage) is not None
    except KeyError:
        return False


def _late(one: UnderWay, what: str, where: str) -> list[Finding]:
    if one.late <= settings().down_after + OVERDUE_SECONDS:
        return []
    text = f"is unfinished{where}, {one.late:.0f} s past its deadline"
    todo = "the sweep ends such requests: see whether a scheduler worker runs, and what it logs"
    return [Finding("past_deadline", what, text, todo)]


def _rung(one: UnderWay, what: str, where: str) -> list[Finding]:
    fix = Fix("makes it due now", partial(work.ring, action_id=one.id))
    if one.due < -FAR_SECONDS:
        text = f"waits{where} and is not rung before {-one.due:.0f} s from now"
        todo = "a clock jumped: let --fix make it due"
        return [Finding("ring_far", what, text, todo, fix)]
    if one.due <= OVERDUE_SECONDS or one.host_state in _AWAY:
        return []
    if one.host is not None and one.host_state is None:
        text = f"waits{where}, which does not exist"
        todo = f"nothing rings it: it ends by its deadline, {-one.late:.0f} s from now"
        return [Finding("action_on_no_host", what, text, todo)]
    text = f"waits{where}, and its ring has been due for {one.due:.0f} s"
    todo = "the sweep rings: see whether a scheduler worker runs, and reaches the broker"
    return [Finding("ring_overdue", what, text, todo, fix)]


def _shown(one: UnderWay, what: str) -> list[Finding]:
    told = one.direction == DO and (one.kind in states.KINDS or one.kind == states.CREATE)
    if not told or one.task_state is not None:
        return []
    fix = Fix("lets the server say that it is busy", partial(work.show_task, action_id=one.id))
    text = "is under way, and the server says that it is idle"
    return [Finding("action_without_task", what, text, "let --fix put it right", fix)]


def _cleanups(seen: Evidence) -> list[Finding]:
    found, gone = [], set()
    for server_id, host, age, state in seen.rows.cleanups:
        subject = f"server {server_id} on host {host}"
        if state is None:
            gone.add(host)
        elif state == "up":
            fix = Fix(
                "raises the server's fence above whatever the host may know, and asks it again",
                partial(residents.owe_above, server_id=server_id, host=host),
            )
            text = f"the host has not removed it for {age:.0f} s, though it is up"
            todo = (
                f"see the log of the host worker {host}; after a restored backup, let --fix do it"
            )
            found.append(Finding("cleanup_refused", subject, text, todo, fix))
        elif age > DAY_SECONDS:
            text = f"must be removed there since {age / DAY_SECONDS:.0f} days; the host is {state}"
            todo = f"bring {host} back, or remove it for good: DELETE /os-services/ID"
            found.append(Finding("cleanup_waits", subject, text, todo, warning=True))
    for host in sorted(gone):
        fix = Fix("writes off what it owes", partial(residents.write_off, host=host))
        text = "owes the removal of servers, and does not exist"
        found.append(Finding("cleanup_of_nobody", f"host {host}", text, "let --fix end it", fix))
    return found
