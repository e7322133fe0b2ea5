"""Stage `schedule`: choose hosts for every server of a request that still stands there."""

from __future__ import annotations

from collections.abc import Callable

from sqlalchemy.orm import Session

from app.domain.advice import advised
from app.domain.message import Fault
from app.domain.resources import Resources
from app.models import Action, Server
from app.scheduler.host_table import HostTable
from app.scheduler.select import Selection
from app.store import actions, endings, hosts
from app.tasks.control import patience, placing

NO_VALID_HOST = "no_valid_host"
Held = list[tuple[Action, Server]]


def schedule(session: Session, request_id: str) -> list[Action]:
    """Move the request's actions on to `claim` with their selections; those that fit nowhere end.

    Returns the actions that ended. Servers of one request differ only in the hosts that they
    must avoid, so each set of those is one decision. What would fit on a host that is away for a
    moment stays here and is rung again, for `host_patience` seconds.
    """
    held = actions.hold_request(session, request_id, "schedule")
    if not held:
        return []
    table = placing.table_of(session, assuming=True)
    ended: list[Action] = []
    for avoided, group in _by_avoided(session, held, _tried).items():
        selection, left = _place(session, table, group, avoided)
        if left:
            # Nobody is refused for what others chose: whether they get it, the claim decides.
            table, number = _as_claimed(session, held)
            selection, left = _place(session, table, left, avoided, 1 if number else None)
        for milder, again in _second_chances(session, left, avoided).items():
            _, refused = _place(session, table, again, milder)
            placed = {action.id for action, _ in again} - {action.id for action, _ in refused}
            left = [pair for pair in left if pair[0].id not in placed]
        if left:
            chosen = [action.selection[0] for action, _ in held if action.stage == "claim"]
            hopeless = _hopeless(session, left, avoided, chosen)
            ended += _refuse(session, hopeless, selection)
    return ended


def _place(
    session: Session,
    table: HostTable,
    group: Held,
    avoided: frozenset[str],
    least: int | None = None,
) -> tuple[Selection, Held]:
    """Move on those that fit; the selection, and those that do not.

    Nothing fits when fewer than `least` do: by default as many as the request wants at least.
    """
    spec = placing.spec_of(session, group[0][1], avoided)
    selection = placing.choose(table, spec, len(group))
    fits = len(selection.picks)
    if fits < (_min_count(session, group) if least is None else least):
        fits = 0
    for number, (action, _) in enumerate(group[:fits]):
        action.selection = selection.picks[number]
        action.placement = selection.explained(number)
        action.stage = "claim"
        patience.over(action)
    if fits:
        actions.enter_all(session, group[:fits])
    return selection, group[fits:]


def _as_claimed(session: Session, held: Held) -> tuple[HostTable, int]:
    """All hosts as they are claimed, less what this request chose now; how many that is."""
    table = placing.table_of(session)
    chosen = [pair for pair in held if pair[0].stage == "claim"]
    for action, server in chosen:
        wanted = Resources(server.vcpus, server.ram_mb, server.disk_gb)
        table.take(table.index[action.selection[0]], wanted)
    return table, len(chosen)


def _second_chances(
    session: Session, left: Held, avoided: frozenset[str]
) -> dict[frozenset[str], Held]:
    """Those for whom a host is free again where only something passing went wrong."""
    tried = [pair for pair in left if pair[0].tried]
    groups = _by_avoided(session, tried, lambda action: patience.failed_for_good(session, action))
    return {milder: group for milder, group in groups.items() if milder != avoided}


def _hopeless(session: Session, left: Held, avoided: frozenset[str], chosen: list[str]) -> Held:
    """Those that need not wait, for they would not fit if all that went away lately were back.

    `avoided` are the hosts that were not asked, `chosen` those that others of the request take now.
    """
    away = patience.may_return(session)
    milder = patience.failed_for_good(session, left[0][0])
    if not away and avoided <= milder:
        return left  # every host has been asked
    spec = placing.spec_of(session, left[0][1], milder)
    table = placing.table_of(session)
    table.set_usable(away)
    for name in chosen:
        table.take(table.index[name], spec.resources)
    selection = placing.choose(table, spec, len(left))
    if len(selection.picks) < _min_count(session, left):
        return left
    awaited = len({pick[0] for pick in selection.picks})
    return [pair for pair in left if not patience.wait(session, pair[0], awaited)]


def _refuse(session: Session, left: Held, selection: Selection) -> list[Action]:
    for action, server in left:
        fault = _no_valid_host(session, action, selection)
        action.placement = selection.explained()
        endings.unplaced(session, action, server)
        endings.broken(session, action, server, fault)
    return [action for action, _ in left]


def _min_count(session: Session, group: Held) -> int:
    """How many must fit: judged over those not deleted meanwhile, until one has been placed."""
    first = group[0][0]
    wanted = min(int(first.args.get("min_count", 1)), len(group))
    return wanted if wanted > 1 and not actions.has_been_placed(session, first.request_id) else 1


def _no_valid_host(session: Session, action: Action, selection: Selection) -> Fault:
    tries = f" after {action.tries} failed" if action.tries else ""
    text = f"No valid host was found{tries}. {selection.sentence()}"
    if failures := actions.failed_builds(session, action.id, "message") if tries else {}:
        text += f" The last failure: {[*failures.values()][-1]}"
    fault = Fault(NO_VALID_HOST, text)
    return advised(fault, "schedule", ", ".join(action.tried) or None)


def _tried(action: Action) -> frozenset[str]:
    return frozenset(action.tried)


def _by_avoided(
    session: Session, held: Held, tried: Callable[[Action], frozenset[str]]
) -> dict[frozenset[str], Held]:
    """By the hosts they must avoid: those `tried`, and those that still owe a clean-up."""
    groups: dict[frozenset[str], Held] = {}
    owing = hosts.owing_cleanups(session, [server.id for _, server in held])
    for action, server in held:
        avoid = tried(action) | owing.get(server.id, frozenset())
        groups.setdefault(avoid, []).append((action, server))
    return groups
