"""When nothing fits: whether a host that is away for a moment would do, and how long to hope."""

from __future__ import annotations

from sqlalchemy.orm import Session

from app.config import settings
from app.models import Action
from app.store import actions, hosts
from app.store.database import clock
from app.tasks import messages
from app.tasks.control.losses import LOST

PASSING = frozenset({LOST, "hypervisor_away", "worker_died"})
"""Faults that say nothing of the host once it is back: it may be tried again."""
AGAIN_SECONDS = 2.0
_UNTIL = "waits_until"


def may_return(session: Session) -> set[str]:
    """The hosts that can be expected to take new servers soon, though they may not just now."""
    away = hosts.away_for_a_moment(session, settings().host_patience)
    return {host.name for host in away if messages.guards(host)}


def failed_for_good(session: Session, action: Action) -> frozenset[str]:
    """The tried hosts but for those where only something passing went wrong."""
    if not action.tried:
        return frozenset()
    passed = actions.failed_builds(session, action.id)
    return frozenset(host for host in action.tried if passed.get(host) not in PASSING)


def wait(session: Session, action: Action, awaited: int) -> bool:
    """Let the action stand where it does for a moment; False when it has waited long enough.

    `awaited` is how many are away that it would fit on.
    """
    time = clock(session)
    until = action.args.get(_UNTIL, time + settings().host_patience)
    if time >= until:
        return False
    action.args = {**action.args, _UNTIL: until}
    action.next_ring_at = time + AGAIN_SECONDS
    text = f"nothing else fits: waiting for {awaited} of the hosts that went away lately"
    if action.message != text:
        action.message = text
        action.revision += 1
    return True


def over(action: Action) -> None:
    """It was placed: if that fails, the next wait has its full time."""
    action.args = {key: value for key, value in action.args.items() if key != _UNTIL}
