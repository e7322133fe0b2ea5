"""The recovery matrix: a libvirtd that is killed, and one that hangs; the product's own times."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from app.models import Host
from tests.cloud import FAKE, Cloud, allowed, eventually, running
from tests.e2e.conftest import LIBVIRT
from tests.http_client import Client
from tests.integration.virt_fixtures import OwnLibvirtd
from tests.matrix import record

pytestmark = pytest.mark.measured  # these times are the product's own


@pytest.fixture(scope="module")
def cloud(
    tmp_path_factory: pytest.TempPathFactory, hypervisors: Callable[[str], OwnLibvirtd]
) -> Iterator[Cloud]:
    """A cloud with web and one real hypervisor."""
    settings = {"driver": LIBVIRT, "virt_type": "qemu", "beat_seconds": "5"}
    made = Cloud(tmp_path_factory.mktemp("matrix"), settings=settings)
    with running(made):
        made.start_web()
        made.start_control()
        made.start_host("n1", libvirt_uri=hypervisors("n1").uri)
        made.hosts_up("n1", seconds=60)
        yield made


@pytest.fixture(scope="module")
def client(cloud: Cloud) -> Client:
    """The cloud's member."""
    return Client(f"http://127.0.0.1:{cloud.web_port}")


@pytest.fixture(scope="module")
def image(client: Client, tiny_image: Path) -> str:
    """The tiny image."""
    return client.upload(tiny_image)


@pytest.fixture(scope="module")
def server(client: Client, image: str) -> str:
    """A server that runs."""
    server_id, task_id = client.create(image)
    assert client.finished(task_id)["state"] == "succeeded"
    return server_id


def test_a_killed_libvirtd_delays_what_was_asked_and_no_more(
    cloud: Cloud,
    hypervisors: Callable[[str], OwnLibvirtd],
    client: Client,
    image: str,
    server: str,
) -> None:
    own = hypervisors("n1")
    own.kill()
    asked = time.monotonic()
    tasks = [client.create(image)[1], client.act(server, reboot={"type": "HARD"})]
    eventually(lambda: time.monotonic() - asked > 3, 10, "the outage lasts")
    own.restart()
    begun = time.monotonic()
    ended = [client.finished(task) for task in tasks]
    record("libvirtd-killed", "restart", time.monotonic() - begun, "a build and a start included")
    assert [(one["state"], one["fault"]) for one in ended] == [("succeeded", None)] * 2
    assert client.server(server)["status"] == "ACTIVE"


def test_nothing_is_placed_on_a_host_whose_libvirtd_hangs(
    cloud: Cloud,
    hypervisors: Callable[[str], OwnLibvirtd],
    client: Client,
    image: str,
    server: str,
) -> None:
    cloud.start_host("n2", driver=FAKE)
    cloud.hosts_up("n2", seconds=60)
    state = select(Host.state).where(Host.name == "n1")
    hung = hypervisors("n1").process()
    hung.send_signal(signal.SIGSTOP)
    begun = time.monotonic()
    try:
        stopping = client.act(server, **{"os-stop": None})
        eventually(lambda: cloud.scalars(state) == ["driver_down"], 60, "its driver is down")
        record("libvirtd-hung", "stop", time.monotonic() - begun)
        for number in range(3):
            server_id, task_id = client.create(image, f"vm{number}")
            assert client.finished(task_id)["state"] == "succeeded"
            assert cloud.server(server_id).host == "n2"
    finally:
        hung.send_signal(signal.SIGCONT)
    back = time.monotonic()
    eventually(lambda: cloud.scalars(state) == ["up"], 60, "it is up again")
    assert client.finished(stopping)["state"] == "succeeded"
    assert client.server(server)["status"] == "SHUTOFF"
    assert time.monotonic() - back < allowed(60)
