"""What is said of a placement before and after agrees with what happens."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session

from app.models import Image
from app.virt.fake import RAM_MB
from tests.asking import add_image, adopt, caller
from tests.cloud import Cloud, eventually, running
from tests.http_client import Client

LARGE, RAM = "4", 8192
EACH = 2


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Two hosts with room for EACH large servers."""
    reserved = RAM_MB - EACH * RAM - 1000
    with running(Cloud(tmp_path, settings={"reserved_ram_mb": str(reserved)})) as cloud:
        adopt(cloud, monkeypatch)
        cloud.start_control()
        cloud.start_web()
        cloud.start_host("n1")
        cloud.start_host("n2", host_traits="CUSTOM_SSD")
        cloud.hosts_up("n1", "n2")
        yield cloud


def dry_run(client: Client, image: str, count: int) -> dict[str, object]:
    server = {"name": "vm", "imageRef": image, "flavorRef": LARGE, "min_count": count}
    about = {"server": server | {"max_count": count, "networks": "auto"}}
    return dict(client.call("POST", "/v1/placement/dry-run", json=about).json()["placement"])


def test_capacity_and_dry_run_agree_with_what_really_happens(cloud: Cloud) -> None:
    root = f"http://127.0.0.1:{cloud.web_port}"
    client, admin = Client(root), Client(root, "admin")
    image = add_image(cloud, caller(cloud).project_id)
    room = client.call("GET", f"/v1/capacity?flavor={LARGE}").json()["capacity"]
    assert room == {"flavor": LARGE, "servers": 2 * EACH, "zones": {"nova": 2 * EACH}}
    asked = dry_run(admin, image, 2 * EACH)
    assert asked["fits"] == asked["wanted"] == 2 * EACH
    promised = [pick["host"] for pick in asked["picks"]]  # type: ignore[attr-defined]
    assert "picks" not in dry_run(client, image, 2 * EACH), "hosts are the administrator's to see"
    tasks = []
    for host in promised:
        server, task = client.create(image, flavorRef=LARGE)
        assert client.finished(task)["state"] == "succeeded"
        assert cloud.server(server).host == host
        tasks.append(task)
    refused = dry_run(client, image, 1)
    assert (refused["fits"], refused["message"]) == (0, "0 of 2 hosts fit: 2 are short of RAM")
    assert client.call("GET", f"/v1/capacity?flavor={LARGE}").json()["capacity"]["servers"] == 0
    _, task = client.create(image, flavorRef=LARGE)
    assert str(refused["message"]) in client.finished(task)["fault"]["message"]
    explained = client.call("GET", f"/v1/tasks/{task}/placement").json()["placement"]
    assert (explained["hosts"], explained["refused"]["ram"]) == (2, 2)
    won = admin.call("GET", f"/v1/tasks/{tasks[0]}/placement").json()["placement"]
    assert won["host"] == promised[0]
    assert won["weights"]["ram"] == 1.0
    hidden = client.call("GET", f"/v1/tasks/{tasks[0]}/placement").json()["placement"]
    assert set(hidden) == {"hosts", "refused"}


def test_capacity_names_what_is_missing_or_unknown(cloud: Cloud) -> None:
    client = Client(f"http://127.0.0.1:{cloud.web_port}")
    assert "flavor" in client.call("GET", "/v1/capacity", 400).text
    client.call("GET", "/v1/capacity?flavor=none", 404)
    client.call("GET", f"/v1/capacity?flavor={LARGE}&availability_zone=mars", 404)
    client.call("GET", "/v1/tasks/no-such-task/placement", 404)


def in_new_group(cloud: Cloud, client: Client, image: str, policy: str, count: int) -> list[str]:
    """Ask for servers in a group of their own at one moment; the hosts they came to, in order."""
    about = {"server_group": {"name": policy, "policies": [policy]}}
    group = client.call("POST", "/compute/v2.1/os-server-groups", json=about).json()
    hint = {"group": group["server_group"]["id"]}
    body = {
        "server": {"name": "vm", "imageRef": image, "flavorRef": "6"},
        "os:scheduler_hints": hint,
    }
    made = [client.call("POST", "/compute/v2.1/servers", 202, json=body) for _ in range(count)]
    for one in made:
        client.finished(one.headers["X-Task-Id"])
    return sorted(str(cloud.server(one.json()["server"]["id"]).host) for one in made)


def test_hints_keep_servers_apart_and_together(cloud: Cloud) -> None:
    client = Client(f"http://127.0.0.1:{cloud.web_port}")
    image = add_image(cloud, caller(cloud).project_id)
    first, task = client.create(image)
    assert client.finished(task)["state"] == "succeeded"
    for hint, same in (("same_host", True), ("different_host", False)):
        server = {"name": "vm", "imageRef": image, "flavorRef": "6"}
        about = {"server": server, "os:scheduler_hints": {hint: [first]}}
        answer = client.call("POST", "/compute/v2.1/servers", 202, json=about)
        assert client.finished(answer.headers["X-Task-Id"])["state"] == "succeeded"
        other = cloud.server(answer.json()["server"]["id"])
        assert (other.host == cloud.server(first).host) is same
    cloud.start_control("another")
    assert in_new_group(cloud, client, image, "anti-affinity", 3) == ["None", "n1", "n2"]
    assert len(set(in_new_group(cloud, client, image, "affinity", 2))) == 1


def test_an_aggregate_makes_a_zone_and_a_ratio_that_placement_keeps_to(cloud: Cloud) -> None:
    root = f"http://127.0.0.1:{cloud.web_port}"
    client, admin = Client(root), Client(root, "admin")
    image = add_image(cloud, caller(cloud).project_id)
    about = {"aggregate": {"name": "east", "availability_zone": "east"}}
    made = admin.call("POST", "/compute/v2.1/os-aggregates", json=about).json()["aggregate"]
    path = f"/compute/v2.1/os-aggregates/{made['id']}/action"
    admin.call("POST", path, json={"add_host": {"host": "n2"}})
    ratio = {"set_metadata": {"metadata": {"cpu_allocation_ratio": "0.03125"}}}
    admin.call("POST", path, json=ratio)  # of 64 vCPUs: two
    tasks = [client.create(image, availability_zone="east") for _ in range(3)]
    ended = [client.finished(task)["state"] for _, task in tasks]
    assert sorted(ended) == ["failed", "succeeded", "succeeded"]
    there = [server for server, task in tasks if client.task(task)["state"] == "succeeded"]
    for server in there:
        assert cloud.server(server).host == "n2"
        assert client.server(server)["OS-EXT-AZ:availability_zone"] == "east"
    admin.call("POST", path, 409, json={"remove_host": {"host": "n2"}})
    for task in [client.delete(server) for server in there]:
        client.finished(task)
    admin.call("POST", path, json={"remove_host": {"host": "n2"}})


def test_flavors_and_images_find_the_hosts_that_have_what_they_ask_for(cloud: Cloud) -> None:
    root = f"http://127.0.0.1:{cloud.web_port}"
    client, admin = Client(root), Client(root, "admin")
    image = add_image(cloud, caller(cloud).project_id)
    specs = "/compute/v2.1/flavors/6/os-extra_specs"
    admin.call("POST", specs, json={"extra_specs": {"trait:CUSTOM_SSD": "required"}})
    server, task = client.create(image)
    assert client.finished(task)["state"] == "succeeded"
    assert cloud.server(server).host == "n2"
    admin.call("POST", specs, json={"extra_specs": {"trait:CUSTOM_SSD": "forbidden"}})
    server, task = client.create(image)
    assert client.finished(task)["state"] == "succeeded"
    assert cloud.server(server).host == "n1"
    with Session(cloud.engine) as session, session.begin():
        session.get_one(Image, image).properties = {"hw_architecture": "aarch64"}
    _, task = client.create(image)
    told = client.finished(task)["fault"]["message"]
    assert "unable to run the image's kind of guest" in told


def test_a_scheduler_worker_with_an_unknown_filter_ends_and_names_it(cloud: Cloud) -> None:
    cloud.start_control("other", filters="compute,NoSuchFilter")
    process = cloud.processes["other"]
    eventually(lambda: process.poll() is not None, 30, "the worker ends")
    assert process.poll() != 0
    assert "NoSuchFilter" in cloud.log("other")
