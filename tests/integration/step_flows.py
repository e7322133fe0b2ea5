"""The workflows as tests walk them: which stages and steps they have, and how they end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from app.tasks.workflow import WORKFLOWS

if TYPE_CHECKING:
    from tests.integration.stepping import Walk

STARTS = frozenset(
    {"spawn.start", "boot.start", "commit.start", "start.restore", "pause.start", "rebuild.start"}
)
"""The steps after which a guest runs that did not before."""
CONTROL, HOST = "control", "host-n1"
AMBIENT = {"inventory.look", "inventory.post", "reconcile", "open", "tidy"}
"""What goes on beside every workflow."""
STAGES = {
    kind: tuple(s.name for s in flow.steps if not s.inline) for kind, flow in WORKFLOWS.items()
}
"""Each workflow's stages that are tasks."""


@dataclass(frozen=True)
class Flow:
    """A workflow as it is walked: `tasks` are its stages, `steps` those of the driver in it.

    `prepare` makes the server that `ask` is about; `ends` is (action's state, vm_state, guest's
    libvirt state or None). `walked` are the steps to die at, unless all; `known` are those at which
    another workflow dies already. With `after` the host's
    worker has died there already, and `spoil` is done, before it dies at one of the steps. A
    `straight` one passes each of its stages once, whatever died.
    """

    name: str
    tasks: tuple[str, ...]
    steps: tuple[str, ...]
    ends: tuple[str, str, int | None]
    prepare: Callable[[Walk], str]
    ask: Callable[[Walk, str], str]
    walked: tuple[str, ...] | None = None
    known: tuple[str, ...] = ()
    after: str = ""
    spoil: Callable[[Walk, str], None] = lambda walk, server_id: None
    straight: bool = True

    @property
    def task_moments(self) -> list[str]:
        """The moments of its stages, on both sides."""
        found: list[str] = []
        for stage in self.tasks:
            moments = ("before", "after")
            if stage not in ("schedule", "claim"):
                found += [f"{stage}.journalled"]
                found += [f"settle-{stage}.{moment}" for moment in moments]
            found += [f"{stage}.{moment}" for moment in moments]
        return found

    @property
    def passed(self) -> list[str]:
        """All moments of an undisturbed run."""
        return _around(self.steps) + self.task_moments

    @property
    def moments(self) -> list[str]:
        """Where its workers are to die."""
        if self.walked is not None:
            return _around(self.walked)
        known = _around(self.known)
        return [moment for moment in self.passed if moment not in known]


def _around(steps: tuple[str, ...]) -> list[str]:
    return [f"{step}.{moment}" for step in steps for moment in ("before", "after")]


def worker_of(moment: str) -> str:
    """Who reaches that moment."""
    control = moment.startswith(("schedule.", "claim.", "settle-", "reconcile."))
    return CONTROL if control else HOST


def is_lasting(moment: str) -> bool:
    """Whether a guest that runs then has been started for good: nothing may start it again."""
    where, _, when = moment.rpartition(".")
    stages = {stage for stages in STAGES.values() for stage in stages}
    if where.startswith("settle-") or when == "journalled":
        return True
    return when == "after" and where in (stages | STARTS)
