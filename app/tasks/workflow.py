"""What happens when a user asks for something: workflows are data, stages named by string.

A stage's name is its row's `stage`, its task's name (`novella.<stage>`) and what users see. One
unwind, one ring and one test harness serve them all.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Step:
    """One stage. `undo` names what takes it back, on the same side as the stage itself.

    `effect` is the host task that does it where its name differs from the stage's; a step that
    is `inline` is done in the transaction that ends the one before, and never rung.
    """

    name: str
    on_host: bool = False
    undo: str | None = None
    slow: bool = False
    inline: bool = False


@dataclass(frozen=True)
class Workflow:
    """A kind of action and its steps, in order."""

    kind: str
    steps: tuple[Step, ...]

    def step(self, name: str) -> Step:
        """The step of that name; raises KeyError for a stage that this workflow has not."""
        for step in self.steps:
            if name in (step.name, step.undo):
                return step
        raise KeyError(f"workflow {self.kind} has no stage {name}")

    def after(self, name: str) -> Step | None:
        """The step that follows `name` and is rung, or None at the end."""
        names = [step.name for step in self.steps]
        rest = self.steps[names.index(name) + 1 :]
        return next((step for step in rest if not step.inline), None)

    @property
    def first(self) -> Step:
        """Where an accepted action starts."""
        return self.steps[0]


WORKFLOWS = {
    workflow.kind: workflow
    for workflow in (
        Workflow(
            "create",
            (
                Step("schedule"),
                Step("claim", undo="release"),
                Step("build", on_host=True, undo="destroy", slow=True),
                Step("commit", inline=True),  # from here on the server belongs to its host
                Step("resume", on_host=True),
            ),
        ),
        Workflow("delete", (Step("destroy", on_host=True), Step("release", inline=True))),
        Workflow("start", (Step("start", on_host=True),)),
        Workflow("stop", (Step("stop", on_host=True),)),
        Workflow("reboot", (Step("reboot", on_host=True),)),
        Workflow("hard_reboot", (Step("reboot", on_host=True),)),
        Workflow("pause", (Step("pause", on_host=True),)),
        Workflow("unpause", (Step("unpause", on_host=True),)),
        Workflow("suspend", (Step("suspend", on_host=True),)),
        Workflow("resume", (Step("wake", on_host=True),)),
        Workflow("rebuild", (Step("rebuild", on_host=True, slow=True),)),
        Workflow("rescue", (Step("rescue", on_host=True, slow=True),)),
        Workflow("unrescue", (Step("unrescue", on_host=True),)),
        Workflow("createImage", (Step("snapshot", on_host=True, slow=True),)),
        Workflow("createBackup", (Step("snapshot", on_host=True, slow=True),)),
        Workflow("attach_interface", (Step("attach", on_host=True),)),
        Workflow("detach_interface", (Step("detach", on_host=True),)),
        Workflow("changePassword", (Step("password", on_host=True),)),
        Workflow("trigger_crash_dump", (Step("crash_dump", on_host=True),)),
        Workflow("sync", (Step("report", on_host=True),)),
    )
}
HOST_EFFECTS = tuple(
    dict.fromkeys(
        name
        for flow in WORKFLOWS.values()
        for step in flow.steps
        for name in (step.name, step.undo)
        if step.on_host and name
    )
)
"""The stages that hosts have a task for."""
SLOW = sorted({step.name for flow in WORKFLOWS.values() for step in flow.steps if step.slow})
"""Stages that take long on their host: only so many of them are with it at once."""
COPIES = ["snapshot"]
"""Those that copy disks for hours: they are counted apart, so that no build waits for one."""
BUILDS = [stage for stage in SLOW if stage not in COPIES]
