"""What a host makes of a message, by its journal: real journal, fake driver, no broker."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest

from app.config import Settings
from app.domain.guest import SHUTDOWN, Guest
from app.domain.message import (
    ABSENT,
    DONE,
    FAILED,
    NOT_COMMITTED,
    STALE,
    BuildPlan,
    HostMessage,
    Key,
    Outcome,
)
from app.domain.resources import Resources
from app.errors import Cancelled, HostFault
from app.tasks.host.effects import Effects
from app.tasks.host.intake import Intake
from app.tasks.host.journal import Journal, Record
from app.tasks.host.room import Room
from app.virt.fake import FakeDriver
from tests.cloud import eventually

PLAN = BuildPlan(
    server_id="s1",
    project_id="p",
    user_id="u",
    fence=5,
    name="vm",
    hostname="vm",
    flavor_name="tiny",
    resources=Resources(1, 64, 1),
    image=None,
    nics=(),
    availability_zone="nova",
)


def message(stage: str, fence: int = 5, action: str = "a1", direction: str = "do") -> HostMessage:
    """A message for the server s1."""
    return HostMessage(
        cloud_id="c1",
        key=Key(action, fence, stage, direction),
        kind="create",
        server_id="s1",
        host="n1",
        host_uuid="",
        session="",
        request_id="req-1",
        plan=replace(PLAN, fence=fence),
    )


def intake(folder: Path, **settings: object) -> Intake:
    """The host's intake, as after a start of its worker."""
    configured = Settings(state_dir=folder, **settings)  # type: ignore[arg-type]
    driver = FakeDriver("n1", "c1", configured)
    driver.open()
    return Intake("n1", Journal(folder / "journal.sqlite"), Effects(driver, 1.0), Room(4))


def test_the_same_message_again_gets_the_stored_outcome(tmp_path: Path) -> None:
    first = intake(tmp_path).handle(message("build"))
    assert first is not None
    assert (first.result, first.power_state) == (DONE, 3)
    assert intake(tmp_path, fake_faults="spawn=always").handle(message("build")) == first


def test_a_stage_that_the_action_has_passed_is_not_run_again(tmp_path: Path) -> None:
    host = intake(tmp_path)
    host.handle(message("build"))
    resumed = host.handle(message("resume"))
    host.effects.driver.power_off_itself("s1")  # type: ignore[attr-defined]
    assert host.handle(message("build")) is None
    assert host.handle(message("resume")) == resumed
    guest = host.effects.driver.find("s1")
    assert guest is not None
    assert guest.power_state == SHUTDOWN, "what its owner switched off stays off"


def test_a_lower_fence_is_stale_and_so_is_another_action_at_the_same(tmp_path: Path) -> None:
    host = intake(tmp_path)
    host.handle(message("build", fence=5))
    for late in (message("build", fence=4), message("destroy", fence=5, action="a2")):
        answer = host.handle(late)
        assert answer is not None
        assert (answer.result, answer.known_fence) == (STALE, 5)


def test_a_third_start_is_a_failure_that_another_host_may_avoid(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.sqlite")
    record = Record("s1", message("build").key, "create")
    journal.put(record)
    journal.start(replace(record, starts=1))
    answer = intake(tmp_path).handle(message("build"))
    assert answer is not None
    assert answer.result == FAILED
    assert answer.fault is not None
    assert (answer.fault.code, answer.fault.retriable) == ("worker_died", True)


def test_a_resume_of_what_was_never_built_says_so(tmp_path: Path) -> None:
    answer = intake(tmp_path).handle(message("resume"))
    assert answer is not None
    assert answer.result == NOT_COMMITTED


def test_a_removal_that_failed_is_tried_again_when_asked_again(tmp_path: Path) -> None:
    failing = intake(tmp_path, fake_faults="destroy=always")
    wanted = message("destroy", fence=6, direction="undo")
    for _ in range(4):
        answer = failing.handle(wanted)
        assert answer is not None
        assert answer.result == FAILED
    answer = intake(tmp_path).handle(wanted)
    assert answer is not None
    assert answer.result == ABSENT


def test_a_newer_message_cancels_the_running_task_and_silences_it(tmp_path: Path) -> None:
    host = intake(tmp_path, fake_delay=30.0)
    answers: list[Outcome | None] = []
    building = threading.Thread(target=lambda: answers.append(host.handle(message("build"))))
    building.start()
    eventually(lambda: any(seen.started for seen in host.tasks.sightings()), 5, "the build runs")
    answer = host.handle(message("destroy", fence=6, action="a2"))
    building.join(5)
    assert answer is not None
    assert answer.result == ABSENT
    [superseded] = answers
    assert superseded is not None
    assert (superseded.key.fence, superseded.result) == (5, FAILED)
    record = host.journal.get("s1")
    assert record is not None
    assert record.outcome == answer
    assert host.effects.driver.find("s1") is None


def test_builds_beyond_the_room_wait_and_a_stop_passes_them(tmp_path: Path) -> None:
    host = intake(tmp_path, fake_delay=30.0)

    def build(number: int) -> None:
        one = replace(message("build", action=f"b{number}"), server_id=f"b{number}")
        host.handle(replace(one, plan=replace(PLAN, server_id=f"b{number}")))

    threads = [threading.Thread(target=build, args=(n,), daemon=True) for n in range(6)]
    for thread in threads:
        thread.start()
    eventually(lambda: len(host.tasks.sightings()) == 6, 5, "all six are accepted")
    eventually(lambda: sum(s.started for s in host.tasks.sightings()) == 4, 5, "four run")
    answer = host.handle(message("destroy", fence=7, action="a3"))
    assert answer is not None
    assert answer.result == ABSENT
    assert sum(seen.started for seen in host.tasks.sightings()) == 4
    with host.tasks._lock:
        for task in host.tasks._tasks.values():
            task.cancel.set()
    for thread in threads:
        thread.join(5)


@pytest.mark.parametrize("stage", ["of", "_check", "driver", "nonsense"])
def test_a_stage_that_hosts_do_not_have_is_an_answer_not_a_crash(
    tmp_path: Path, stage: str
) -> None:
    answer = intake(tmp_path).handle(message(stage))
    assert answer is not None
    assert answer.fault is not None
    assert answer.fault.code == "bug"


def test_a_cleanup_at_a_known_fence_runs_though_it_is_of_no_action(tmp_path: Path) -> None:
    host = intake(tmp_path)
    host.handle(message("destroy", fence=5))
    owed = replace(message("destroy", fence=5, action="c1", direction="undo"), kind="cleanup")
    answer = host.handle(owed)
    assert answer is not None
    assert (answer.key.action_id, answer.result) == ("c1", ABSENT)


def test_a_rescued_guest_stays_rescued_over_its_hosts_restart_only(tmp_path: Path) -> None:
    host = intake(tmp_path)
    driver = host.effects.driver
    assert host.handle(message("build"))
    assert host.handle(message("resume"))
    driver.rescue(replace(PLAN, fence=6), threading.Event(), lambda percent, text: None)
    for fence, args, rescue in ((8, {"restart": True}, 6), (10, {}, 0)):
        driver.stop("s1", fence - 1, 0, threading.Event())
        told = replace(message("start", fence=fence), kind="start", args=args)
        answer = host.handle(told)
        assert answer is not None
        assert answer.result == DONE
        guest = driver.find("s1")
        assert guest is not None
        assert guest.rescue == rescue


def test_copies_of_disks_take_no_room_from_builds(tmp_path: Path) -> None:
    room, never = Room(1), threading.Event()
    cancelled = threading.Event()
    cancelled.set()
    with room.of("snapshot", never), room.of("build", never), room.of("stop", never):
        for full in ("snapshot", "build", "rebuild"):
            with pytest.raises(Cancelled), room.of(full, cancelled):
                pass


def test_a_copy_whose_worker_died_too_often_leaves_no_file(tmp_path: Path) -> None:
    host = intake(tmp_path)
    driver = host.effects.driver
    assert host.handle(message("build"))
    assert host.handle(message("resume"))
    told = replace(message("snapshot", fence=6, action="a2"), kind="createImage")
    record = Record("s1", told.key, told.kind)
    host.journal.put(record)
    path = driver.snapshot("s1", 6, threading.Event(), lambda percent, text: None)
    for _ in range(2):
        host.journal.start(record)  # and the worker died, twice
        record = host.journal.get("s1") or record
    answer = host.handle(told)
    assert answer is not None
    assert answer.fault is not None
    assert answer.fault.code == "worker_died"
    assert not path.exists()


class Away(FakeDriver):
    """Its hypervisor does not answer."""

    def rebuild(self, *asked: object) -> Guest:  # type: ignore[override]
        raise HostFault("cannot reach libvirtd", code="hypervisor_away")


def test_a_try_that_cannot_look_at_what_an_interrupted_one_did_says_half_done(
    tmp_path: Path,
) -> None:
    driver = Away("n1", "c1", Settings(state_dir=tmp_path))
    driver.open()
    host = Intake("n1", Journal(tmp_path / "journal.sqlite"), Effects(driver, 1.0), Room(4))
    for fence, interrupted, code in ((6, False, "hypervisor_away"), (7, True, "half_done")):
        told = replace(message("rebuild", fence=fence), kind="rebuild")
        if interrupted:
            record = Record("s1", told.key, told.kind)
            host.journal.put(record)
            host.journal.start(record)
        answer = host.handle(told)
        assert answer is not None
        assert answer.fault is not None
        assert answer.fault.code == code
