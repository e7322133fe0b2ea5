"""Two clouds and the owner's own guests on one libvirtd, in peace."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import libvirt
import pytest
from sqlalchemy.orm import Session

from app.models import Subnet
from tests.cloud import Cloud, eventually, running
from tests.e2e.conftest import LIBVIRT
from tests.http_client import Client
from tests.integration.virt_fixtures import OwnLibvirtd

OWNERS = """<domain type='qemu'><name>mine</name><uuid>{id}</uuid><memory unit='MiB'>32</memory>
<os><type>hvm</type></os></domain>"""


@pytest.fixture
def clouds(tmp_path: Path, hypervisors: Callable[[str], OwnLibvirtd]) -> Iterator[list[Cloud]]:
    """Two clouds with one hypervisor each: the same libvirtd."""
    with ExitStack() as stack:
        made = []
        for number in (1, 2):
            folder = tmp_path / f"cloud {number}"
            folder.mkdir()
            settings = {"driver": LIBVIRT, "virt_type": "qemu", "inventory_seconds": "2"}
            cloud = stack.enter_context(running(Cloud(folder, settings=settings)))
            with Session(cloud.engine) as session, session.begin():
                subnet = session.query(Subnet).one()
                subnet.cidr, subnet.gateway_ip = f"10.8{number}.0.0/24", f"10.8{number}.0.1"
                subnet.pool_start, subnet.pool_end = f"10.8{number}.0.2", f"10.8{number}.0.254"
            cloud.start_web()
            cloud.start_control()
            cloud.start_host("n1", libvirt_uri=hypervisors("n1").uri)
            cloud.hosts_up("n1", seconds=60)
            made.append(cloud)
        yield made


def test_two_clouds_and_the_owners_guests_do_not_touch_each_other(
    clouds: list[Cloud], hypervisors: Callable[[str], OwnLibvirtd], tiny_image: Path
) -> None:
    connection = libvirt.open(hypervisors("n1").uri)
    mine = connection.defineXML(OWNERS.format(id=uuid.uuid4()))
    mine.create()
    clients = [Client(f"http://127.0.0.1:{cloud.web_port}") for cloud in clouds]
    servers = []
    for client in clients:
        server_id, task_id = client.create(client.upload(tiny_image))
        task = client.finished(task_id)
        assert task["state"] == "succeeded", task["fault"]
        servers.append(server_id)

    generations = [cloud.redis().get("inv:n1") for cloud in clouds]
    eventually(
        lambda: all(
            cloud.redis().get("inv:n1") != old
            for cloud, old in zip(clouds, generations, strict=True)
        ),
        20,
        "both hosts have been looked at again",
    )
    assert [client.server(one)["status"] for client, one in zip(clients, servers, strict=True)] == [
        "ACTIVE",
        "ACTIVE",
    ]
    assert clients[0].finished(clients[0].delete(servers[0]))["state"] == "succeeded"
    left = {domain.UUIDString(): domain.isActive() for domain in connection.listAllDomains()}
    assert left == {servers[1]: 1, mine.UUIDString(): 1}
    assert clients[1].finished(clients[1].delete(servers[1]))["state"] == "succeeded"
    assert [domain.name() for domain in connection.listAllDomains()] == ["mine"]
    mine.destroy()
    mine.undefine()
    connection.close()
