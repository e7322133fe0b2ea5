"""A worker's app with one safeguard taken away, to prove that a run then goes red.

Production code has no such switch: what is named in CHAOS_MUTATE is replaced here, in the
worker processes of a test cloud, which start with `-A tests.chaos.mutant`.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from app.celery import app

__all__ = ["MUTATE", "app"]


def _cas() -> None:
    """Outcomes are taken whatever the row's fence, stage and direction are by now."""
    from app.store import actions

    _patch(actions, "hold", lambda session, key: actions.lock(session, key.action_id))


def _ring() -> None:
    """Nothing is rung twice."""
    from app.tasks.control import ring

    _patch(ring, "ring_due", lambda backlog: None)


def _paused() -> None:
    """A guest runs, committed, as soon as it is built: nobody is asked before."""
    from app.virt.fake import FakeDriver

    spawn = FakeDriver.spawn

    def eager(self: Any, plan: Any, cancel: Any, report: Any) -> Any:
        spawn(self, plan, cancel, report)
        return self.commit(plan.server_id, plan.fence)

    _patch(FakeDriver, "spawn", eager)


def _journal() -> None:
    """The host forgets what it was told."""
    from app.tasks.host.journal import Journal

    _patch(Journal, "get", lambda self, server_id: None)
    _patch(Journal, "fences", lambda self: {})


def _session() -> None:
    """Messages are taken that were sent to an earlier session."""
    from app.tasks.host.agent import Agent

    handle = Agent.handle

    def gullible(self: Any, message: Any) -> Any:
        return handle(self, replace(message, session=self.session.current()))

    _patch(Agent, "handle", gullible)


def _patch(owner: Any, name: str, new: Any) -> None:
    """Replace what must be there: a mutation of nothing would prove nothing."""
    getattr(owner, name)
    setattr(owner, name, new)


MUTATE: dict[str, Callable[[], None]] = {
    "cas": _cas,
    "ring": _ring,
    "paused": _paused,
    "journal": _journal,
    "session": _session,
}

if _name := os.environ.get("CHAOS_MUTATE"):
    MUTATE[_name]()
