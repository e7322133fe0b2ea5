"""Workflows, topology and states agree with each other."""

from __future__ import annotations

import pytest

from app.domain.states import KINDS, STATUS, kind_of, status
from app.errors import Conflict
from app.store.servers import FIRST_STAGE, hostname_of
from app.tasks.workflow import HOST_EFFECTS, WORKFLOWS
from app.topology import topology


def test_every_kind_has_a_workflow_that_starts_where_it_is_accepted() -> None:
    assert set(WORKFLOWS) == {"create", *FIRST_STAGE}
    for kind, stage in FIRST_STAGE.items():
        assert WORKFLOWS[kind].first.name == stage
    assert set(KINDS) <= set(WORKFLOWS)


def test_every_rung_stage_has_a_task_on_the_right_queue() -> None:
    for flow in WORKFLOWS.values():
        for step in flow.steps:
            if step.inline:
                continue
            queue = topology().queue(f"novella.{step.name}", "n1")
            assert queue == ("host-n1" if step.on_host else "scheduler")
            assert not step.on_host or step.name in HOST_EFFECTS


def test_a_workflow_skips_inline_steps() -> None:
    create = WORKFLOWS["create"]
    following = create.after("build")
    assert following is not None
    assert following.name == "resume"
    assert create.after("resume") is None
    assert create.step("destroy").name == "build"
    with pytest.raises(KeyError):
        create.step("nonsense")


def test_a_hard_reboot_is_a_kind_of_its_own() -> None:
    assert kind_of("reboot", {"type": "HARD"}).name == "hard_reboot"
    assert kind_of("reboot", {"type": "SOFT"}).name == "reboot"


@pytest.mark.parametrize(
    ("kind", "vm_state", "task_state", "allowed"),
    [
        ("stop", "active", None, True),
        ("stop", "error", None, True),
        ("stop", "stopped", None, False),
        ("stop", "active", "rebooting", False),
        ("start", "stopped", None, True),
        ("start", "active", None, False),
        ("reboot", "active", None, True),
        ("reboot", "stopped", None, False),
        ("hard_reboot", "stopped", None, True),
        ("hard_reboot", "active", "rebooting", True),
        ("hard_reboot", "active", "powering-off", False),
        ("delete", "building", "spawning", True),
    ],
)
def test_what_may_be_asked_in_which_state(
    kind: str, vm_state: str, task_state: str | None, allowed: bool
) -> None:
    if allowed:
        KINDS[kind].check("id", vm_state, task_state)
    else:
        with pytest.raises(Conflict, match=task_state or vm_state):
            KINDS[kind].check("id", vm_state, task_state)


def test_every_vm_state_has_a_status() -> None:
    assert status("active", "rebooting") == "REBOOT"
    assert status("active", "deleting") == "ACTIVE"
    assert {status(state, None) for state in STATUS} == set(STATUS.values())


@pytest.mark.parametrize(
    ("name", "hostname"),
    [("web 1", "web-1"), ("Ünïcode!", "n-code"), ("***", "server"), ("a" * 80, "a" * 63)],
)
def test_hostnames_are_made_of_names(name: str, hostname: str) -> None:
    assert hostname_of(name) == hostname
