"""A journal that cannot be read or written, and what it may forget; tasks that do not end."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.message import ABSENT, DONE, FAILED, Outcome
from app.errors import HostFault
from app.tasks.host import intake as intake_module
from app.tasks.host.intake import Intake
from app.tasks.host.journal import Journal, Record
from app.tasks.host.room import MAX_SLOW
from tests.cloud import CHECKOUT, eventually
from tests.integration.test_intake import PLAN, intake, message


def test_a_journal_that_cannot_be_read_is_kept_aside_and_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    first = Journal(path)
    first.put(Record("s1", message("build").key, "create"))
    first.close()
    content = path.read_bytes()
    path.write_bytes(content[:4000] + os.urandom(len(content) - 4000))
    assert Journal(path).fences() == {}
    [aside] = tmp_path.glob("journal.sqlite.broken-*")
    assert aside.read_bytes()[:4000] == content[:4000]
    path.write_bytes(b"not a database at all" * 100)
    assert Journal(path).fences() == {}


def test_a_journal_whose_damage_is_no_text_is_begun_anew_as_well(tmp_path: Path) -> None:
    path = tmp_path / "journal.sqlite"
    first = Journal(path)
    first.put(Record("s1", message("build").key, "create"))
    first.close()
    named, spoilt = b"tablerecordsrecords", b"table\xff\xffcords\xff\xffcords"
    content = path.read_bytes()
    assert content.count(named) == 1
    path.write_bytes(
        content.replace(named, spoilt).replace(b"CREATE TABLE rec", b"CREATE TALLE rec")
    )
    with closing(sqlite3.connect(path)) as raw, pytest.raises(UnicodeDecodeError):
        raw.execute("SELECT * FROM records")
    assert Journal(path).fences() == {}
    assert len(list(tmp_path.glob("journal.sqlite.broken-*"))) == 1


def fill(journal: Journal) -> None:
    """Let the file grow no more, as when the disk is full."""
    [(pages,)] = journal._database.execute("PRAGMA page_count").fetchall()
    journal._database.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(HostFault) as full:
        put_many(journal)
    assert full.value.code == "disk_full"


def put_many(journal: Journal) -> None:
    for number in range(1000):
        journal.put(Record(f"other{number}", message("build").key, "create"))


def free(journal: Journal) -> None:
    """There is room again."""
    journal._database.execute("PRAGMA max_page_count=100000")


def test_what_cannot_be_journalled_is_not_begun_and_says_so(tmp_path: Path) -> None:
    host = intake(tmp_path)
    fill(host.journal)
    answer = host.handle(message("build"))
    assert answer is not None
    assert answer.fault is not None
    assert (answer.result, answer.fault.code, answer.fault.retriable) == (FAILED, "disk_full", True)
    assert "journal" in answer.fault.message
    assert host.effects.driver.find("s1") is None
    free(host.journal)
    assert host.handle(message("build")) == answer, "what was answered stays so"
    later = host.handle(message("build", fence=6))
    assert later is not None
    assert later.result == DONE


def test_a_removal_that_could_not_be_journalled_is_done_when_asked_again(tmp_path: Path) -> None:
    host = intake(tmp_path)
    fill(host.journal)
    refused = host.handle(message("destroy", fence=6))
    assert refused is not None
    assert refused.result == FAILED
    free(host.journal)
    answer = host.handle(message("destroy", fence=6))
    assert answer is not None
    assert answer.result == ABSENT


def test_an_outcome_that_cannot_be_journalled_is_sent_all_the_same(tmp_path: Path) -> None:
    host = intake(tmp_path, fake_delay=0.5)
    answers: list[Outcome | None] = []
    building = threading.Thread(target=lambda: answers.append(host.handle(message("build"))))
    building.start()
    eventually(lambda: any(seen.started for seen in host.tasks.sightings()), 5, "the build runs")
    host.journal._database.execute("PRAGMA query_only=ON")
    building.join(10)
    host.journal._database.execute("PRAGMA query_only=OFF")
    [answer] = answers
    assert answer is not None
    assert answer.result == DONE
    assert host.handle(message("build")) == answer
    assert host.journal.unfinished() == {"s1"}


def test_old_tombstones_are_forgotten_and_nothing_else_is(tmp_path: Path) -> None:
    host = intake(tmp_path)
    for server_id in ("gone", "again", "here"):
        one = replace(PLAN, server_id=server_id)
        host.handle(replace(message("build"), server_id=server_id, plan=one))
    for server_id in ("gone", "again"):
        host.handle(replace(message("destroy", fence=6), server_id=server_id))
    journal, now = host.journal, time.time()
    assert journal.tombstones(now - 60) == set()
    assert journal.tombstones(now + 60) == {"gone", "again"}
    host.handle(replace(message("resume", fence=7), server_id="again"))
    journal.forget(["gone", "again", "here"], now + 60)
    assert journal.fences() == {"again": 7, "here": 5}


def test_a_journal_of_an_older_program_gets_its_tombstones_dated(tmp_path: Path) -> None:
    first = intake(tmp_path)
    first.handle(message("destroy"))
    first.journal._database.execute("DROP TABLE written")
    first.journal.close()
    again = Journal(tmp_path / "journal.sqlite")
    assert again.tombstones(time.time() - 60) == set()
    assert again.tombstones(time.time() + 60) == {"s1"}


def test_slow_work_beyond_the_threads_is_dropped_and_quick_work_passes(tmp_path: Path) -> None:
    host = intake(tmp_path, fake_delay=60.0)
    threads = [
        threading.Thread(target=build, args=(host, f"b{number}"), daemon=True)
        for number in range(MAX_SLOW)
    ]
    for thread in threads:
        thread.start()
    eventually(lambda: len(host.tasks.sightings()) == MAX_SLOW, 10, "all are accepted")
    assert build(host, "one more") is None
    assert host.handle(message("destroy", fence=7)) is not None
    with host.tasks._lock:
        for task in host.tasks._tasks.values():
            task.stop()
    for thread in threads:
        thread.join(10)
    host.effects.driver._delay = 0.0  # type: ignore[attr-defined]
    answer = build(host, "one more")
    assert answer is not None, "it is only late"
    assert answer.result == DONE


def build(host: Intake, server_id: str) -> Outcome | None:
    """A build of that server."""
    one = replace(PLAN, server_id=server_id)
    asked = message("build", action=f"a-{server_id}")
    return host.handle(replace(asked, server_id=server_id, plan=one))


HANGS = """
import sys, threading, time
from pathlib import Path
from app.errors import HostFault
from app.tasks.host import intake as module
from tests.integration.test_intake import intake, message
module.JOIN_SECONDS = 0.5
host = intake(Path(sys.argv[1]))
host.effects.driver.spawn = lambda *args: time.sleep(100)
threading.Thread(target=host.guard, args=(threading.Event(),), daemon=True).start()
threading.Thread(target=host.handle, args=(message("build"),), daemon=True).start()
while not any(seen.started for seen in host.tasks.sightings()):
    time.sleep(0.01)
newer = message(sys.argv[2], fence=6, action="a2")
threading.Thread(target=host.handle, args=(newer,), daemon=True).start()
time.sleep(50)
"""


def test_a_task_that_ignores_its_cancellation_ends_the_worker(tmp_path: Path) -> None:
    for stage in ("destroy", "build"):
        ended = subprocess.run(
            [sys.executable, "-c", HANGS, str(tmp_path / stage), stage],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
            capture_output=True,
            text=True,
            timeout=40,
            check=False,
        )
        assert ended.returncode == intake_module.EXIT_SOFTWARE, ended.stderr
        assert "ignores its cancellation" in ended.stdout + ended.stderr
