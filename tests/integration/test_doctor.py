"""Each of these corruptions is found and named; those that are safe to heal are healed.

The list is `CORRUPTIONS`: what is broken, by which code it is told, and whether --fix heals it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from sqlalchemy import select, update

from app.models import Allocation, Server
from tests.asking import caller, request
from tests.cloud import eventually
from tests.integration import corruptions_elsewhere as elsewhere
from tests.integration import corruptions_of_rows as rows
from tests.integration.corruptions_of_rows import GHOST, UNKNOWN_HOST, Patient, Undo
from tests.integration.doctoring import (
    fleet,
    image_with_file,
    living,
    run,
    until_healthy,
    wrong,
)

pytestmark = pytest.mark.timeout(120)


@dataclass(frozen=True)
class Corruption:
    """`inject` breaks something; the doctor must say `words` under `code`."""

    code: str
    inject: Callable[[Patient], Undo]
    words: str
    safe: bool


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Patient]:
    with fleet(tmp_path_factory.mktemp("patient")) as cloud:
        image_id = image_with_file(cloud)
        server_id = living(cloud, image_id)
        deleted_id = living(cloud, image_id)
        assert cloud.finished(request(caller(cloud), deleted_id, "delete")).state == "succeeded"
        yield Patient(cloud, image_id, server_id, deleted_id)


CORRUPTIONS = [
    Corruption("used_sum", rows.used_too_high, "host n1 used ram_mb is", safe=True),
    Corruption("used_sum", rows.servers_miscounted, "host n1 servers is", safe=True),
    Corruption("no_allocation", rows.allocation_lost, "holds nothing there", safe=True),
    Corruption("allocation_size", rows.allocation_too_big, "vcpus 9", safe=True),
    Corruption("allocation_left", rows.allocation_of_a_deleted_server, "is deleted", safe=True),
    Corruption("allocation_of_nobody", rows.allocation_of_no_server, GHOST, safe=True),
    Corruption("over_committed", rows.host_shrunk, "vcpus are given", safe=False),
    Corruption(
        "task_without_action", rows.task_state_that_nobody_clears, "powering-off", safe=True
    ),
    Corruption("action_of_deleted", rows.action_of_a_deleted_server, "is deleted", safe=True),
    Corruption("ring_far", rows.ring_put_off_for_hours, "is not rung before", safe=True),
    Corruption("quota_use", rows.quota_counted_wrong, "instances: the quota counts", safe=True),
    Corruption("port_of_deleted", rows.port_of_a_deleted_server, "10.77.9.9", safe=True),
    Corruption("port_of_nobody", rows.port_of_no_server, "10.77.9.10", safe=True),
    Corruption("address_outside", rows.address_outside_its_subnet, "192.0.2.9", safe=False),
    Corruption("no_port", rows.port_lost, "without a port for its interface 0", safe=False),
    Corruption("dhcp_entries", elsewhere.dhcp_entry_of_another_address, "10.77.0.200", safe=False),
    Corruption(
        "guest_unknown", elsewhere.guest_of_no_server, "on host n2 a guest of it runs", safe=False
    ),
    Corruption("leftover_unknown", elsewhere.disk_of_no_server, f"{GHOST} on host n1", safe=False),
    Corruption("guest_ahead", elsewhere.fence_behind_the_host, "restored from a backup", safe=True),
    Corruption("image_sum", elsewhere.image_file_spoiled, "its file's sha512 is", safe=False),
    Corruption("image_without_file", elsewhere.image_file_gone, "cannot be read", safe=False),
    Corruption("file_of_deleted", elsewhere.file_of_a_deleted_image, "was deleted", safe=True),
    Corruption(
        "file_of_nobody", elsewhere.file_of_no_image, f"{GHOST} is in the image store", safe=False
    ),
    Corruption("image_stuck", elsewhere.upload_given_up, "has been saving for 3 days", safe=False),
    Corruption("cleanup_of_nobody", rows.cleanup_of_a_host_that_is_gone, UNKNOWN_HOST, safe=True),
    Corruption("no_beat", rows.host_that_never_speaks, UNKNOWN_HOST, safe=False),
    Corruption("schema", rows.schema_of_another_release, "the database's schema", safe=False),
    Corruption("redis_evicts", elsewhere.redis_that_evicts, "allkeys-lru", safe=False),
    Corruption(
        "clock", elsewhere.clock_of_a_worker_behind, "scheduler worker slow is 60", safe=False
    ),
    Corruption("foreign_host", elsewhere.machine_of_another_cloud, "host alien", safe=False),
]


@pytest.mark.parametrize("corruption", CORRUPTIONS, ids=lambda one: one.inject.__name__)
def test_a_corruption_is_found_named_and_healed_when_that_is_safe(
    patient: Patient, corruption: Corruption
) -> None:
    until_healthy()
    undo = corruption.inject(patient)
    try:
        said: list[str] = eventually(lambda: wrong(run()[1]), 10, "the doctor finds it")
        told = [line for line in said if line.startswith(f"{corruption.code}:")]
        assert any(corruption.words in line for line in told), said
        code, after = run("--fix")
        if corruption.safe:
            assert wrong(after) == []
            assert code == 0
            assert after["healed"]
        else:
            assert code == 1
            assert corruption.code in {one["code"] for one in after["findings"]}
    finally:
        if undo is not None:
            undo()
    until_healthy()


def test_what_was_healed_works_again(patient: Patient) -> None:
    ask = caller(patient.cloud)
    eventually(lambda: patient.server.task_state is None, 10)
    if patient.server.vm_state == "active":
        assert patient.cloud.finished(request(ask, patient.server_id, "stop")).state == "succeeded"
    assert patient.cloud.finished(request(ask, patient.server_id, "start")).state == "succeeded"
    assert patient.cloud.finished(request(ask, patient.server_id, "delete")).state == "succeeded"
    assert patient.cloud.scalars(select(Allocation)) == []
    until_healthy()


def test_a_server_that_nobody_builds_any_more_shows_so_and_can_be_deleted(
    patient: Patient,
) -> None:
    server_id = living(patient.cloud, patient.image_id)
    until_healthy()
    patient.sql(update(Server).where(Server.id == server_id).values(vm_state="building"))
    assert any("task_without_action" in line for line in wrong(run()[1]))
    assert run("--fix")[0] == 0
    assert patient.cloud.server(server_id).vm_state == "error"
    assert patient.cloud.server(server_id).fault
    action_id = request(caller(patient.cloud), server_id, "delete")
    assert patient.cloud.finished(action_id).state == "succeeded"
