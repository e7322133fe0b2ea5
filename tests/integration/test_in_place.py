"""Operations in place over HTTP, with the fake driver and real processes: how they end."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from app.virt.fake_operations import EMPTY_QCOW2
from tests.asking import adopt
from tests.cloud import Cloud, eventually, running
from tests.http_client import Client

SERVERS = "/compute/v2.1/servers"
SNAPSHOTS_FROM_2_45 = {"OpenStack-API-Version": "compute 2.45"}


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """One slow host, n1, on which the first rebuild fails, and the first rescue."""
    made = Cloud(tmp_path_factory.mktemp("in place"))
    with pytest.MonkeyPatch.context() as patch, running(made):
        adopt(made, patch)
        made.start_web()
        made.start_control()
        made.start_host("n1", fake_delay="1.5", fake_faults="rebuild=once!,rescue=once!")
        made.hosts_up("n1")
        yield made


@pytest.fixture(scope="module")
def client(cloud: Cloud) -> Client:
    return Client(f"http://127.0.0.1:{cloud.web_port}")


@pytest.fixture(scope="module")
def image(client: Client, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("image") / "empty.qcow2"
    path.write_bytes(EMPTY_QCOW2)
    return client.upload(path, base="yes")


@pytest.fixture(scope="module")
def server(client: Client, image: str) -> str:
    server_id, task_id = client.create(image)
    assert client.finished(task_id)["state"] == "succeeded"
    return server_id


def snapshot(client: Client, server: str, **body: Any) -> tuple[str, str]:
    """Ask for an image; (image id, task id)."""
    answer = client.call(
        "POST", f"{SERVERS}/{server}/action", 202, json=body, headers=SNAPSHOTS_FROM_2_45
    )
    return answer.json()["image_id"], answer.headers["X-Task-Id"]


def shown(client: Client, image_id: str) -> dict[str, Any]:
    return dict(client.call("GET", f"/image/v2/images/{image_id}").json())


def files(cloud: Cloud) -> set[str]:
    return {path.name for path in (cloud.directory / "images").iterdir()}


def test_an_image_is_made_of_a_server_and_boots_another(
    cloud: Cloud, client: Client, server: str, image: str
) -> None:
    body = {"name": "copy", "metadata": {"image_type": "mine"}}
    image_id, task_id = snapshot(client, server, createImage=body)
    assert shown(client, image_id)["status"] == "saving"
    assert client.server(server)["OS-EXT-STS:task_state"] == "image_snapshot_pending"
    assert client.finished(task_id)["state"] == "succeeded"
    made = shown(client, image_id)
    assert (made["status"], made["disk_format"], made["size"]) == ("active", "qcow2", 4 << 16)
    assert (made["instance_uuid"], made["base_image_ref"]) == (server, image)
    assert (made["image_type"], made["base"], made["min_disk"]) == ("mine", "yes", 1)
    content = client.call("GET", f"/image/v2/images/{image_id}/file").content
    assert content == EMPTY_QCOW2
    assert client.server(server)["OS-EXT-STS:vm_state"] == "active"
    assert not list(cloud.directory.glob("hosts/n1/snapshot-*"))
    second, create = client.create(image_id)
    assert client.finished(create)["state"] == "succeeded"
    assert client.finished(client.delete(second))["state"] == "succeeded"
    client.call("DELETE", f"/image/v2/images/{image_id}", 204)
    assert not [name for name in files(cloud) if name.startswith(image_id)]


def test_as_many_backups_are_kept_as_asked_for(cloud: Cloud, client: Client, server: str) -> None:
    made = []
    for number in range(3):
        wanted = {"name": f"b{number}", "backup_type": "daily", "rotation": 2}
        image_id, task_id = snapshot(client, server, createBackup=wanted)
        assert client.finished(task_id)["state"] == "succeeded"
        made.append(image_id)
    query = f"/image/v2/images?instance_uuid={server}&image_type=backup&backup_type=daily"
    listed = client.call("GET", query).json()["images"]
    assert {one["id"] for one in listed} == set(made[1:])
    none = {"createBackup": {"name": "b", "backup_type": "daily", "rotation": 0}}
    client.call("POST", f"{SERVERS}/{server}/action", 202, json=none)
    assert client.call("GET", query).json()["images"] == []
    image_id, task_id = snapshot(client, server, createImage={"name": "next"})
    assert client.finished(task_id)["state"] == "succeeded"
    assert not [name for name in files(cloud) if name[:36] in made], "went with the next upload"


def test_a_password_is_changed_once_however_often_one_key_asks(client: Client, server: str) -> None:
    body = {"changePassword": {"adminPass": "hush-hush"}}
    keyed = {"Idempotency-Key": "password"}
    first, again = (
        client.call("POST", f"{SERVERS}/{server}/action", 202, json=body, headers=keyed)
        for _ in range(2)
    )
    assert again.headers["Idempotent-Replayed"] == "true"
    assert again.headers["X-Task-Id"] == first.headers["X-Task-Id"]
    assert client.finished(first.headers["X-Task-Id"])["state"] == "succeeded"
    other = {"changePassword": {"adminPass": "another"}}
    client.call("POST", f"{SERVERS}/{server}/action", 422, json=other, headers=keyed)


def test_an_image_that_is_deleted_while_it_is_made_does_not_come_back(
    cloud: Cloud, client: Client, server: str
) -> None:
    image_id, task_id = snapshot(client, server, createImage={"name": "copy"})
    client.call("DELETE", f"/image/v2/images/{image_id}", 204)
    ended = client.finished(task_id)
    assert (ended["state"], ended["fault"]["code"]) == ("failed", "image_gone")
    client.call("GET", f"/image/v2/images/{image_id}", 404)
    assert client.server(server)["status"] == "ACTIVE"
    assert not [name for name in files(cloud) if name.startswith(image_id)]


def test_a_server_that_is_deleted_while_an_image_is_made_takes_it_along(
    cloud: Cloud, client: Client, image: str
) -> None:
    server_id, task_id = client.create(image)
    assert client.finished(task_id)["state"] == "succeeded"
    image_id, task_id = snapshot(client, server_id, createImage={"name": "copy"})
    assert client.finished(client.delete(server_id))["state"] == "succeeded"
    assert client.finished(task_id)["state"] == "cancelled"
    client.call("GET", f"/image/v2/images/{image_id}", 404)
    eventually(lambda: not list(cloud.directory.glob("hosts/n1/snapshot-*")), 10, "no copy is left")
    assert not [name for name in files(cloud) if name.startswith(image_id)]


def test_nobody_else_fills_an_image_that_is_being_made(client: Client, server: str) -> None:
    image_id, task_id = snapshot(client, server, createImage={"name": "copy"})
    octets = {"Content-Type": "application/octet-stream"}
    path = f"/image/v2/images/{image_id}/file"
    client.call("PUT", path, 409, data=EMPTY_QCOW2, headers=octets)
    forged = octets | {"Authorization": "Bearer made-up"}
    client.call("PUT", path, 401, data=b"x", headers=forged)
    assert client.finished(task_id)["state"] == "succeeded"


def test_what_fails_before_the_guest_is_touched_leaves_the_server_as_it_was(
    client: Client, server: str, image: str
) -> None:
    before = client.server(server)
    body = {"imageRef": image, "name": "other", "metadata": {"a": "b"}}
    ended = client.finished(client.act(server, rebuild=body))
    assert (ended["state"], ended["fault"]["code"]) == ("failed", "fake_fault")
    rescue = client.call("POST", f"{SERVERS}/{server}/action", 200, json={"rescue": None})
    assert client.finished(rescue.headers["X-Task-Id"])["state"] == "failed"
    after = client.server(server)
    assert after | {"updated": None} == before | {"updated": None}
    assert client.finished(client.act(server, rebuild=body))["state"] == "succeeded"
    rebuilt = client.server(server)
    assert (rebuilt["name"], rebuilt["metadata"], rebuilt["status"]) == (
        "other", {"a": "b"}, "ACTIVE",
    )  # fmt: skip
