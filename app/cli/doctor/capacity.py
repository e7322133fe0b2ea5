"""Allocations, sums, limits and quotas."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from app.cli.doctor.evidence import Evidence
from app.cli.doctor.finding import Finding, Fix
from app.store.audit import capacity, quotas, residents
from app.store.audit.capacity import NAMES, Held, Use


def check(seen: Evidence) -> list[Finding]:
    """Allocations against servers, use against allocations and limits, quotas against servers."""
    found = [_misfit(held) for held in seen.rows.misfits]
    for server_id, host in seen.rows.unclaimed:
        text = f"is on host {host} and holds nothing there: the host may be filled above its limit"
        todo = f"when --fix leaves it, {host} has no room for it: delete it, or raise the ratios"
        fix = Fix("claims what it needs, if it fits", partial(capacity.claim, server_id=server_id))
        found.append(Finding("no_allocation", f"server {server_id}", text, todo, fix))
    for use in seen.rows.uses:
        found += [*_sums(use), *_limits(use)]
    for one in seen.rows.accounts:
        text = f"{one.resource}: the quota counts {one.in_use}, its servers need {one.needed}"
        fix = Fix("counts again", partial(quotas.count_again, project_id=one.project_id))
        subject = f"project {one.project_id}, {one.resource}"
        found.append(Finding("quota_use", subject, text, "let --fix count again", fix))
    return found


def _misfit(held: Held) -> Finding:
    subject = f"server {held.server_id} on host {held.host}"
    amount = ", ".join(f"{name} {value}" for name, value in zip(NAMES, held.held, strict=True))
    if held.wanted is None:
        fix = Fix("frees it", partial(capacity.forget, server_id=held.server_id, host=held.host))
        text = f"{amount} is held for a server that does not exist"
        return Finding("allocation_of_nobody", subject, text, "let --fix free it", fix)
    if held.stray:
        where = "is deleted" if held.deleted else f"is on {held.server_host or 'no host'}"
        owe = partial(residents.owe, server_id=held.server_id, host=held.host)
        fix = Fix("has the host make sure that nothing is left there, and then frees it", owe)
        text = f"{amount} is held, though the server {where}, and no cleanup is owed"
        return Finding("allocation_left", subject, text, "let --fix have it freed", fix)
    fix = Fix("holds what it needs, if it fits", partial(capacity.claim, server_id=held.server_id))
    needs = ", ".join(f"{name} {value}" for name, value in zip(NAMES, held.wanted, strict=True))
    text = f"holds {amount}, and needs {needs}"
    todo = f"when --fix leaves it, {held.host} has no room for it: delete it, or raise the ratios"
    return Finding("allocation_size", subject, text, todo, fix)


def _sums(use: Use) -> Iterator[Finding]:
    wrong = [
        f"used {name} is {used}, its allocations are {summed}"
        for name, used, summed in zip(NAMES, use.used, use.summed, strict=True)
        if used != summed
    ]
    if use.servers != use.allocations:
        wrong.append(f"servers is {use.servers}, its allocations are {use.allocations}")
    if wrong:
        fix = Fix("sets its use to the sum", partial(capacity.sum_up, host=use.host))
        subject = f"host {use.host}"
        yield Finding("used_sum", subject, "; ".join(wrong), "let --fix sum up again", fix)


def _limits(use: Use) -> Iterator[Finding]:
    over = [
        f"{summed} {name} are given, {limit:g} may be"
        for name, summed, limit in zip(NAMES, use.summed, use.limits, strict=True)
        if summed > limit
    ]
    if over:
        todo = "nothing more is placed there; move or delete servers, or raise its ratio again"
        yield Finding("over_committed", f"host {use.host}", "; ".join(over), todo)
