"""How long recovery took: for each kind of blow, the longest of the operations that it touched.

An operation that a blow could touch, accepted before the blow's end and not over by then, took
the time from there to its own end, without the time in which another blow that could touch it
was in force. Blows are dense, so this is an upper bound.
"""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Action, ActionEvent
from tests.chaos.saboteur import Struck

RING_SECONDS = 2.0
"""Web's part of an operation is over once it has rung."""


def recovery(session: Session, struck: list[Struck]) -> dict[str, float]:
    """Seconds by kind; a kind that no operation had to recover from has 0."""
    longest = {blow.kind: 0.0 for blow in struck}
    hosts: defaultdict[str, set[str]] = defaultdict(set)
    placed = select(ActionEvent.action_id, ActionEvent.host).where(ActionEvent.host.is_not(None))
    for event in session.execute(placed):
        hosts[event.action_id].add(event.host)
    ended = select(Action.id, Action.created_at, Action.finished_at)
    for action in session.execute(ended.where(Action.finished_at.is_not(None))):
        touching = [one for one in struck if _touches(one, action.created_at, hosts[action.id])]
        for blow in touching:
            if action.created_at < blow.ended < action.finished_at:
                quiet = _quiet(blow.ended, action.finished_at, touching)
                longest[blow.kind] = max(longest[blow.kind], round(quiet, 1))
    return dict(sorted(longest.items()))


def _quiet(begin: float, end: float, blows: list[Struck]) -> float:
    """How many of the seconds from `begin` to `end` none of `blows` was in force."""
    quiet, reached = 0.0, begin
    for blow in sorted(blows, key=lambda one: one.begun):
        if blow.begun >= end:
            break
        quiet += max(0.0, blow.begun - reached)
        reached = max(reached, blow.ended)
    return quiet + max(0.0, end - reached)


def _touches(blow: Struck, accepted: float, hosts: set[str]) -> bool:
    if blow.kind == "web":
        return accepted > blow.begun - RING_SECONDS
    return not blow.hosts or bool(hosts & set(blow.hosts))
