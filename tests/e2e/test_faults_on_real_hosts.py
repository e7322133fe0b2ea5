"""What goes wrong on real hypervisors: full disks, deletes in mid-download; and secrets."""

from __future__ import annotations

import base64
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from sqlalchemy import select

from app.models import Allocation, Cleanup, Port
from tests.cloud import Cloud, allowed, eventually, free_port, running
from tests.e2e.conftest import LIBVIRT
from tests.e2e.listing import listing, unchanged
from tests.http_client import Client
from tests.integration.virt_fixtures import OwnLibvirtd
from tests.templates import PASSWORDS

MIB = 1 << 20


class SlowProxy:
    """Forwards TCP to a cloud's web, at a few MiB a second towards the client."""

    def __init__(self, to_port: int, bytes_per_second: int) -> None:
        self.to_port, self.rate = to_port, bytes_per_second
        self.download_ended = 0.0
        self._server = socket.create_server(("127.0.0.1", 0))
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._server.accept()
            except OSError:
                return
            web = socket.create_connection(("127.0.0.1", self.to_port))
            threading.Thread(target=self._copy, args=(client, web, 0), daemon=True).start()
            threading.Thread(target=self._copy, args=(web, client, self.rate), daemon=True).start()

    def _copy(self, source: socket.socket, target: socket.socket, rate: int) -> None:
        try:
            while block := source.recv(65536):
                target.sendall(block)
                if rate:
                    time.sleep(len(block) / rate)
        except OSError:
            pass
        finally:
            if rate:
                self.download_ended = time.monotonic()
            for end in (source, target):
                end.close()

    def close(self) -> None:
        """Take no more connections."""
        self._server.close()


@pytest.fixture
def cloud(tmp_path: Path) -> Iterator[Cloud]:
    """A cloud of its own with web, and real hypervisors to be started by the test."""
    made = Cloud(tmp_path, settings={"driver": LIBVIRT, "virt_type": "qemu"})
    with running(made):
        made.start_web()
        yield made


@pytest.fixture
def big_image(tmp_path: Path) -> Path:
    """A qcow2 of 48 MiB that does not compress and does not boot."""
    raw, image = tmp_path / "big.raw", tmp_path / "big.qcow2"
    raw.write_bytes(os.urandom(48 * MIB))
    command = ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(image)]
    subprocess.run(command, check=True, timeout=60)
    return image


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A tmpfs of 16 MiB."""
    folder = tmp_path / "small disk"
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m", "none", folder], check=True)
    yield folder
    subprocess.run(["umount", folder], check=True)


def nothing_is_held(cloud: Cloud) -> None:
    """No claim, no address, no cleanup."""
    for table in (Allocation, Port, Cleanup):
        assert cloud.scalars(select(table)) == []


def test_a_disk_that_fills_up_sends_the_build_to_another_host(
    cloud: Cloud,
    hypervisors: Callable[[str], OwnLibvirtd],
    big_image: Path,
    small_disk: Path,
) -> None:
    n1, n2 = hypervisors("n1"), hypervisors("n2")
    cloud.start_control()
    cloud.start_host("n1", libvirt_uri=n1.uri, cache_dir=str(small_disk))
    cloud.hosts_up("n1", seconds=60)
    client = Client(f"http://127.0.0.1:{cloud.web_port}")
    image = client.upload(big_image)
    before = listing(n1, cloud)

    server_id, task_id = client.create(image)
    task = client.finished(task_id)
    assert task["state"] == "failed"
    shown = client.server(server_id)
    assert shown["status"] == "ERROR"
    admin = Client(client.root, "admin")
    build = admin.task(task_id)["steps"][2]
    assert (build["name"], build["host"], build["fault"]["code"]) == ("build", "n1", "disk_full")
    assert "free disk on the host" in task["steps"][2]["fault"]["todo"]
    assert "1 is ruled out: tried before" in task["fault"]["message"]
    assert "What to do" in shown["fault"]["message"]
    assert "n1" not in str(task) + str(shown), "hosts are for administrators"
    nothing_is_held(cloud)
    unchanged(n1, cloud, before)
    assert image_data(small_disk) == []
    client.finished(client.delete(server_id))

    cloud.start_host("n2", libvirt_uri=n2.uri)
    cloud.hosts_up("n2", seconds=60)
    servers = []
    for number in range(2):
        server_id, task_id = client.create(image, f"vm{number}")
        task = client.finished(task_id)
        assert task["state"] == "succeeded", task["fault"]
        assert cloud.server(server_id).host == "n2"
        servers.append(server_id)
    for server_id in servers:
        assert client.finished(client.delete(server_id))["state"] == "succeeded"
    unchanged(n1, cloud, before)
    nothing_is_held(cloud)


def test_a_delete_during_a_download_ends_it_within_a_second(
    cloud: Cloud, hypervisors: Callable[[str], OwnLibvirtd], big_image: Path
) -> None:
    n1 = hypervisors("n1")
    proxy = SlowProxy(cloud.web_port, 2 * MIB)
    cloud.start_control(public_url=f"http://127.0.0.1:{proxy.port}")
    cloud.start_host("n1", libvirt_uri=n1.uri)
    cloud.hosts_up("n1", seconds=60)
    client = Client(f"http://127.0.0.1:{cloud.web_port}")
    image = client.upload(big_image)
    before = listing(n1, cloud)
    server_id, task_id = client.create(image)
    seen = set()

    def downloading() -> bool:
        task = client.task(task_id)
        seen.add((task["progress"], task["message"]))
        return len([1 for _, message in seen if "downloading" in (message or "")]) >= 3

    eventually(downloading, 30, "the download shows its progress")
    begun = time.monotonic()
    deleted = client.finished(client.delete(server_id))
    assert deleted["state"] == "succeeded"
    assert time.monotonic() - begun < allowed(1.5)
    eventually(lambda: proxy.download_ended, 5, "the download ends")
    assert proxy.download_ended - begun < allowed(1.0)
    assert client.task(task_id)["state"] == "cancelled"
    nothing_is_held(cloud)
    unchanged(n1, cloud, before)
    cache = cloud.directory / "hosts/n1/cache"
    assert image_data(cache) == []
    proxy.close()


CANARY = "canary-9d1f7c55"
ENCODED = base64.b64encode(f"#!/bin/sh\n# {CANARY}\n".encode()).decode()


def image_data(cache: Path) -> list[Path]:
    """Files of a cache that take room: not the empty locks, nor the notes on who uses it."""
    files = [path for path in cache.rglob("*") if path.is_file() and path.parent.name != "users"]
    return [path for path in files if path.stat().st_size]


def refused_bodies(client: Client, server: dict[str, object]) -> list[str]:
    """What clients are told whose requests bear secrets and are wrong."""
    path = f"{client.root}/compute/v2.1/servers"
    bodies = []
    for wrong in ({"unknown_field": 1}, {"user_data": ENCODED * 4000}):
        answer = client.session.post(path, json={"server": server | wrong}, timeout=30)
        assert answer.status_code in (400, 413)
        bodies.append(answer.text)
    with pytest.raises(AssertionError) as refused:
        Client(client.root, password=f"{CANARY}-wrong")
    return [*bodies, str(refused.value)]


def flower_tasks(cloud: Cloud, port: int) -> str:
    """All that Flower's API tells of tasks, for whom knows its password."""
    flower = requests.Session()
    flower.trust_env = False
    url = f"http://127.0.0.1:{port}/api/tasks"
    assert eventually(lambda: flower.get(url, timeout=10).status_code == 401, 20)
    shown = eventually(
        lambda: flower.get(url, auth=("op", "flower-pass"), timeout=10).json(), 20, "tasks shown"
    )
    assert any(entry["name"] == "novella.build" for entry in shown.values())
    return json.dumps(shown)


def check_ids(cloud: Cloud, task: dict[str, object]) -> None:
    """Every line of the request, from web to host, bears all three ids."""
    for process in ("web", "control", "host-n1"):
        lines = [json.loads(line) for line in cloud.log(process).splitlines()]
        mine = [line for line in lines if line.get("request_id") == task["request_id"]]
        assert mine, process
        for line in mine:
            assert line.get("server_id") == task["server_id"], line
            assert line.get("task_id") == task["id"], line


def test_ids_are_on_every_line_and_no_secret_is_in_logs_results_or_flower(
    cloud: Cloud, hypervisors: Callable[[str], OwnLibvirtd], tiny_image: Path
) -> None:
    cloud.start_control(log_level="DEBUG")
    cloud.start_host("n1", libvirt_uri=hypervisors("n1").uri, log_level="DEBUG")
    port = free_port()
    cloud.spawn(
        "flower",
        [sys.executable, "-m", "app.cli.flower", f"--port={port}"]
        + ["--address=127.0.0.1", "--basic-auth=op:flower-pass"],
    )
    cloud.hosts_up("n1", seconds=60)
    client = Client(f"http://127.0.0.1:{cloud.web_port}")
    server: dict[str, object] = {"name": "vm", "imageRef": client.upload(tiny_image)}
    server |= {"flavorRef": "6", "adminPass": f"{CANARY}-pass", "user_data": ENCODED}
    answer = client.call("POST", "/compute/v2.1/servers", 202, json={"server": server})
    task = client.finished(answer.headers["X-Task-Id"])
    assert task["state"] == "succeeded", task["fault"]
    check_ids(cloud, task)

    texts = refused_bodies(client, server)
    texts += [json.dumps(task), flower_tasks(cloud, port)]
    redis = cloud.redis()
    results = [str(redis.get(key)) for key in redis.scan_iter("celery-task-meta-*")]
    logs = [path.read_text(errors="replace") for path in cloud.directory.glob("*.log")]
    assert len(results) >= 1
    assert len(logs) >= 5
    for text in [*texts, *results, *logs]:
        for secret in (CANARY, ENCODED, client.token, PASSWORDS["novella"]):
            assert secret not in text, text[max(0, text.find(secret) - 300) :][:600]
    assert client.finished(client.delete(task["server_id"]))["state"] == "succeeded"
