"""The doctor's SQL on PostgreSQL, and its healing while the same rows are at work."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import insert, select, update

from app.models import Action, Allocation, Host, Port, Server
from app.store import claims
from app.store.audit import capacity, quotas
from app.store.database import transaction
from tests.asking import adopt, caller, create, request
from tests.cloud import Cloud, eventually, running
from tests.integration.doctoring import image_with_file, living, run, until_healthy, wrong
from tests.postgres import fresh_database


@pytest.fixture
def cloud(tmp_path: Path, postgres: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A cloud on PostgreSQL with one host."""
    url = fresh_database(postgres, f"doctor-{uuid.uuid4().hex[:8]}")
    made = Cloud(tmp_path, settings={"inventory_seconds": "1"}, database_url=url)
    with running(made):
        adopt(made, monkeypatch)
        made.start_control()
        made.start_host("n1")
        made.hosts_up("n1")
        yield made


def test_corruptions_of_every_table_are_found_and_healed(cloud: Cloud) -> None:
    who, image_id = caller(cloud), image_with_file(cloud)
    server_id, gone = living(cloud, image_id), living(cloud, image_id)
    assert cloud.finished(request(who, gone, "delete")).state == "succeeded"
    until_healthy()
    _break_every_table(cloud, server_id, gone)
    code, said = run()
    assert code == 1
    assert {line.partition(":")[0] for line in wrong(said)} == {
        "allocation_left",
        "allocation_size",
        "guest_ahead",
        "port_of_deleted",
        "quota_use",
        "ring_far",
        "used_sum",
    }
    code, said = run("--fix")
    assert (wrong(said), code) == ([], 0)
    eventually(lambda: cloud.server(server_id).vm_state == "stopped", 20, "the lost stop is done")
    assert cloud.finished(request(who, server_id, "start")).state == "succeeded"
    until_healthy()


def _break_every_table(cloud: Cloud, server_id: str, gone: str) -> None:
    """One corruption of each kind; `gone` is a deleted server."""
    [port] = cloud.scalars(select(Port))
    left = {"server_id": gone, "host": "n1", "vcpus": 1, "ram_mb": 192, "disk_gb": 1}
    with cloud.engine.begin() as connection:
        connection.exec_driver_sql("UPDATE hosts SET used_disk_gb = used_disk_gb + 5")
        connection.exec_driver_sql("UPDATE quota_usages SET in_use = in_use + 1")
        connection.execute(update(Allocation).values(ram_mb=64))
        connection.execute(insert(Allocation).values(left))
        connection.execute(
            insert(Port).values(
                id=str(uuid.uuid4()),
                project_id=port.project_id,
                network_id=port.network_id,
                subnet_id=port.subnet_id,
                server_id=gone,
                mac="fa:16:3e:00:00:01",
                address="10.77.9.9",
            )
        )
        connection.execute(
            update(Server).where(Server.id == server_id).values(fence=1, task_state="powering-off")
        )
        connection.execute(insert(Action).values(_lost(server_id, port.project_id)))


def _lost(server_id: str, project_id: str) -> dict[str, object]:
    """A stop that is rung in two hours."""
    at = time.time()
    return {
        "id": str(uuid.uuid4()),
        "server_id": server_id,
        "project_id": project_id,
        "user_id": "u",
        "request_id": "req-lost",
        "kind": "stop",
        "state": "running",
        "stage": "stop",
        "host": "n1",
        "args": {},
        "next_ring_at": at + 7200,
        "deadline": at + 9000,
        "created_at": at,
    }


@pytest.mark.full
def test_counting_again_while_servers_come_and_go_spoils_no_count(cloud: Cloud) -> None:
    who, image_id = caller(cloud), image_with_file(cloud)
    ended = threading.Event()
    errors: list[Exception] = []

    def heal() -> None:
        while not ended.is_set():
            try:
                with transaction() as session:
                    capacity.sum_up(session, "n1")
                with transaction() as session:
                    quotas.count_again(session, who.project_id)
            except Exception as error:  # noqa: BLE001  (told by the test's own thread)
                errors.append(error)
                return

    healers = [threading.Thread(target=heal) for _ in range(2)]
    for one in healers:
        one.start()
    try:
        for _ in range(6):
            made = create(cloud, who, image_id, count=8)
            for _, action_id in made:
                cloud.finished(action_id)
            deletes = [request(who, server_id, "delete") for server_id, _ in made]
            for action_id in deletes:
                cloud.finished(action_id)
    finally:
        ended.set()
        for one in healers:
            one.join(30)
    assert errors == []
    until_healthy()


def test_summing_up_waits_for_a_claim_that_is_not_committed_yet(cloud: Cloud) -> None:
    server_id = living(cloud, image_with_file(cloud))
    summed = threading.Event()

    def sum_up() -> None:
        with transaction() as session:
            capacity.sum_up(session, "n1")
        summed.set()

    healer = threading.Thread(target=sum_up)
    with transaction() as session:
        claims.release(session, server_id, "n1")
        healer.start()
        assert not summed.wait(0.5)
    assert summed.wait(10)
    healer.join()
    [use] = cloud.scalars(select(Host.used_ram_mb))
    assert use == 0
