"""Whatever can die has a test in which it does: a new step or task without one is found here."""

from __future__ import annotations

import importlib
import pkgutil

from app import failpoints
from app.tasks.workflow import WORKFLOWS
from app.topology import topology
from tests.integration import (
    test_precaching,
    test_steps_create,
    test_steps_pausing,
    test_steps_plugging,
    test_steps_power,
    test_steps_rebuild,
    test_steps_removal,
    test_steps_snapshot,
)
from tests.integration.step_flows import AMBIENT

FLOWS = (
    *test_steps_create.FLOWS,
    *test_steps_power.FLOWS,
    *test_steps_pausing.FLOWS,
    *test_steps_plugging.FLOWS,
    *test_steps_rebuild.FLOWS,
    *test_steps_removal.FLOWS,
    *test_steps_snapshot.FLOWS,
)
WALKED = {moment for flow in FLOWS for moment in flow.moments} | set(test_precaching.MOMENTS)
OUT_OF_REACH = {"start.wake"}
"""libvirt's test driver cannot put a guest to sleep."""
READS = {"novella.console", "novella.diagnostics", "novella.has_agent"}
"""Tasks that change nothing: who asked stops waiting, and may ask again."""


TOLD_AGAIN = {"novella.networks", "novella.networked"}
"""Tasks of no workflow: a host is told its whole networking until it has said that it has it."""


def test_every_step_of_the_driver_is_walked() -> None:
    for package in ("app.virt.libvirt", "app.tasks.host"):
        for module in pkgutil.iter_modules(importlib.import_module(package).__path__):
            if module.name != "reaper":  # a program
                importlib.import_module(f"{package}.{module.name}")
    walked = {moment.rpartition(".")[0] for moment in WALKED} | AMBIENT
    assert set(failpoints.STEPS) - walked == OUT_OF_REACH


def test_every_task_is_walked() -> None:
    for task in set(topology().tasks) - READS - TOLD_AGAIN:
        stage = task.removeprefix("novella.")
        moments = {m for m in WALKED if m.startswith((f"{stage}.", f"{stage}-"))}
        assert {f"{stage}.before", f"{stage}.after"} <= moments or stage in (*AMBIENT, "settle")


def test_every_stage_of_every_workflow_is_walked_on_both_sides() -> None:
    for workflow in WORKFLOWS.values():
        for step in workflow.steps:
            for stage in {step.name, step.undo if step.on_host else None} - {None}:
                if step.inline:
                    continue
                wanted = {f"{stage}.before", f"{stage}.after"}
                if step.on_host:
                    wanted |= {f"{stage}.journalled"}
                    wanted |= {f"settle-{stage}.before", f"settle-{stage}.after"}
                assert wanted <= WALKED, (workflow.kind, stage)
