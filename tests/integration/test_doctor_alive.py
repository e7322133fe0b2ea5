"""The doctor and a cloud in motion: no false alarms, parts that are away, a restored database."""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from app.cli.doctor import evidence, examination
from app.models import Cleanup, Server
from tests.asking import caller, create, forget_process_state, request
from tests.cloud import CHECKOUT, Cloud, eventually
from tests.integration.doctoring import (
    change_host,
    fleet,
    image_with_file,
    living,
    run,
    until_healthy,
    wrong,
)

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    with fleet(tmp_path_factory.mktemp("alive"), fake_delay="0.3") as made:
        yield made


def guest_on(cloud: Cloud, host: str, server_id: str) -> dict[str, object] | None:
    """A guest as its hypervisor knows it."""
    state = json.loads((cloud.directory / f"hosts/{host}/fake.json").read_text())
    found: dict[str, object] | None = state["guests"].get(server_id)
    return found


def test_a_cloud_in_the_middle_of_its_work_is_healthy(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "SLACK_SECONDS", 15.0)
    monkeypatch.setattr(examination, "SECOND_LOOK_SECONDS", 2.0)
    who, image_id = caller(cloud, "admin"), image_with_file(cloud)
    ended = threading.Event()
    asked: list[str] = []

    def work() -> None:
        try:
            for number in range(10):
                made = create(cloud, who, image_id, count=3, name=f"busy-{number}")
                last = made[-1]
                cloud.finished(last[1])
                asked.extend(action for _, action in made)
                asked.extend(request(who, server_id, "delete") for server_id, _ in made[:2])
                request(who, last[0], "stop")
                asked.append(request(who, last[0], "delete"))
        finally:
            ended.set()

    worker = threading.Thread(target=work)
    worker.start()
    looks = 0
    try:
        while not ended.is_set():
            code, said = run()
            assert (wrong(said), code) == ([], 0)
            looks += 1
    finally:
        worker.join(120)
    for action_id in asked:
        cloud.finished(action_id)
    assert len(asked) == 60
    assert looks >= 5
    until_healthy()


def test_an_older_database_is_told_and_healed_and_nothing_on_the_host_is_lost(
    cloud: Cloud,
) -> None:
    who, image_id = caller(cloud), image_with_file(cloud)
    server_id = living(cloud, image_id)
    host = str(cloud.server(server_id).host)
    backup = cloud.directory / "backup.sqlite"
    _copy(cloud.directory / "cloud.sqlite", backup)
    for kind in ("stop", "start"):
        assert cloud.finished(request(who, server_id, kind)).state == "succeeded"
    newer = living(cloud, image_id)
    where = str(cloud.server(newer).host)
    fence = cloud.server(server_id).fence
    _restore(cloud, backup)
    assert cloud.server(server_id).fence < fence

    def told() -> bool:
        # Each host's word comes with its own next inventory.
        lines = wrong(run()[1])
        wanted = (f"guest_ahead: server {server_id} on host {host}",)
        wanted += (f"guest_unknown: server {newer} on host {where}",)
        return all(any(line.startswith(one) for line in lines) for one in wanted)

    eventually(told, 30, "the doctor tells of the fence and of the unknown guest")
    code, said = run("--fix")
    assert code == 1
    assert [line.partition(":")[0] for line in wrong(said)] == ["guest_unknown"]
    assert cloud.server(server_id).fence > fence
    for name, there in ((server_id, host), (newer, where)):
        guest = guest_on(cloud, there, name)
        assert guest is not None
        assert guest["power_state"] == 1
    assert cloud.finished(request(who, server_id, "stop")).state == "succeeded"
    guest = guest_on(cloud, host, server_id)
    assert guest is not None
    assert guest["power_state"] == 4
    assert cloud.finished(request(who, server_id, "delete")).state == "succeeded"
    assert guest_on(cloud, where, newer) is not None
    _remove_by_hand(cloud, where, newer)
    until_healthy()


def _copy(source: Path, target: Path) -> None:
    """Copy a SQLite database that is in use."""
    with sqlite3.connect(source) as one, sqlite3.connect(target) as other:
        one.backup(other)
    one.close()
    other.close()


def _restore(cloud: Cloud, backup: Path) -> None:
    """Put an older database in place of the cloud's, as an operator does: with workers stopped."""
    cloud.kill("control")
    cloud.engine.dispose()
    forget_process_state()
    for part in cloud.directory.glob("cloud.sqlite*"):
        part.unlink()
    backup.rename(cloud.directory / "cloud.sqlite")
    cloud.start_control()
    cloud.hosts_up("n1", "n2")


def _remove_by_hand(cloud: Cloud, host: str, server_id: str) -> None:
    def remove(state: dict[str, dict[str, object]]) -> None:
        state["guests"].pop(server_id)
        for kind in ("disks", "dhcp", "leases"):
            state[kind].pop(f"{cloud.cloud_id}/{server_id}", None)

    change_host(cloud, host, remove)


def test_what_no_sweep_looks_after_is_told_and_owed(cloud: Cloud) -> None:
    who, image_id = caller(cloud), image_with_file(cloud)
    kept, gone = living(cloud, image_id), living(cloud, image_id)
    home = str(cloud.server(kept).host)
    other = "n2" if home == "n1" else "n1"
    there = str(cloud.server(gone).host)
    old = guest_on(cloud, there, gone)
    assert cloud.finished(request(who, gone, "delete")).state == "succeeded"
    until_healthy()
    lost = living(cloud, image_id)
    hers = str(cloud.server(lost).host)
    time_to_settle = time.monotonic() + 3
    cloud.kill("control")
    twin = guest_on(cloud, home, kept)
    change_host(cloud, other, lambda state: state["guests"].update({kept: twin}))
    change_host(cloud, there, lambda state: state["guests"].update({gone: old}))
    change_host(cloud, hers, lambda state: state["guests"].pop(lost))
    eventually(lambda: time.monotonic() > time_to_settle)

    def told() -> list[str]:
        lines = wrong(run()[1])
        wanted = ("guest_twice", "guest_left", "guest_missing", "no_worker")
        return lines if all(any(w in line for line in lines) for w in wanted) else []

    lines = eventually(told, 30, "all four are told")
    assert any(f"guest_twice: server {kept} on host {other}" in line for line in lines), lines
    assert any(f"guest_left: server {gone} on host {there}" in line for line in lines), lines
    assert any(f"guest_missing: server {lost} on host {hers}" in line for line in lines), lines
    assert run("--fix")[0] == 1
    owed = {(one.server_id, one.host) for one in cloud.scalars(select(Cleanup))}
    assert owed == {(kept, other), (gone, there)}
    cloud.start_control()
    eventually(lambda: not cloud.scalars(select(Cleanup)), 30, "both are removed")
    assert guest_on(cloud, home, kept) is not None
    assert guest_on(cloud, other, kept) is None
    eventually(lambda: cloud.server(lost).vm_state == "error", 20, "its owner sees it")
    for server_id in (kept, lost):
        assert cloud.finished(request(who, server_id, "delete")).state == "succeeded"
    until_healthy()


def test_without_redis_the_rest_is_still_looked_at(cloud: Cloud) -> None:
    server_id = living(cloud, image_with_file(cloud))
    with cloud.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE hosts SET used_vcpus = used_vcpus + 1")
    cloud.kill("redis")
    code, said = run()
    lines = wrong(said)
    assert code == 1
    assert any(line.startswith("redis_away: Redis does not answer") for line in lines)
    assert sum(line.startswith("used_sum") for line in lines) == 2
    assert "guests were not compared on: n1, n2" in said["notes"]
    cloud.start_redis()
    cloud.hosts_up("n1", "n2")
    eventually(lambda: run("--fix")[0] == 0, 40)
    assert cloud.finished(request(caller(cloud), server_id, "delete")).state == "succeeded"


def test_a_database_that_is_away_is_not_called_healthy(tmp_path: Path) -> None:
    clean = {k: v for k, v in os.environ.items() if not k.startswith("NOVELLA_")}
    url = "postgresql+psycopg://novella:hush@127.0.0.1:1/novella"
    environ = {**clean, "NOVELLA_STATE_DIR": str(tmp_path), "NOVELLA_DATABASE_URL": url}
    argv = [sys.executable, "-m", "app.cli", "doctor"]
    done = subprocess.run(
        argv, env=environ, cwd=CHECKOUT, capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "check database_url" in done.stderr
    assert "hush" not in done.stderr
    assert done.stderr.count("\n") == 1


def test_people_read_what_is_wrong_and_what_to_do(cloud: Cloud) -> None:
    server_id = living(cloud, image_with_file(cloud))
    with cloud.engine.begin() as connection:
        connection.execute(
            Server.__table__.update().where(Server.id == server_id).values(task_state="rebooting")
        )
    environ = cloud.env()
    argv = [sys.executable, "-m", "app.cli", "doctor"]
    found = subprocess.run(argv, env=environ, capture_output=True, text=True, timeout=60)
    assert found.returncode == 1
    assert f"wrong: server {server_id} says that it is rebooting" in found.stdout
    assert "    what to do: " in found.stdout
    assert "    --fix clears its task state" in found.stdout
    fixed = subprocess.run(
        [*argv, "--fix"], env=environ, capture_output=True, text=True, timeout=60
    )
    assert fixed.returncode == 0, fixed.stdout
    assert f"healed: server {server_id}: clears its task state" in fixed.stdout
    assert fixed.stdout.splitlines()[-1].startswith("healthy")
