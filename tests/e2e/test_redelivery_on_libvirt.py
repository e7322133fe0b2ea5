"""Every message of a real guest's life delivered twice and late: dumps stay equal."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import libvirt
import pytest

from tests.asking import adopt, caller, create, request
from tests.cloud import Cloud, running
from tests.e2e.conftest import LIBVIRT
from tests.e2e.listing import listing
from tests.http_client import Client
from tests.integration.virt_fixtures import OwnLibvirtd
from tests.postman import Postman

VOLATILE = re.compile(r" id='\d+'")


def dumps(own: OwnLibvirtd, cloud: Cloud) -> object:
    """Database, definitions and states of all domains, files, DHCP entries and links."""
    connection = libvirt.open(own.uri)
    try:
        domains = {
            domain.UUIDString(): (
                domain.state()[0],
                VOLATILE.sub("", domain.XMLDesc()),
                domain.XMLDesc(libvirt.VIR_DOMAIN_XML_INACTIVE),
            )
            for domain in connection.listAllDomains()
        }
    finally:
        connection.close()
    return cloud.dump(), domains, listing(own, cloud)


@pytest.fixture
def cloud(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    hypervisors: Callable[[str], OwnLibvirtd],
) -> Iterator[Cloud]:
    """A cloud that sends nothing by itself, with a real hypervisor."""
    settings = {"driver": LIBVIRT, "virt_type": "qemu", "chain": "false", "shutdown_seconds": "1"}
    made = Cloud(tmp_path, settings=settings | {"inventory_seconds": "3600"})
    with running(made):
        adopt(made, monkeypatch)
        made.start_web()
        made.start_control()
        made.start_host("n1", libvirt_uri=hypervisors("n1").uri)
        made.hosts_up("n1", seconds=60)
        yield made


def test_a_guests_whole_life_delivered_twice_and_late(
    cloud: Cloud, hypervisors: Callable[[str], OwnLibvirtd], tiny_image: Path
) -> None:
    n1, who, postman = hypervisors("n1"), caller(cloud), Postman(cloud)
    image = Client(f"http://127.0.0.1:{cloud.web_port}").upload(tiny_image)
    before_all = listing(n1, cloud)
    [(server_id, action_id)] = create(cloud, who, image)

    def twice_and_late(action_id: str) -> None:
        postman.deliver(action_id)
        assert cloud.action(action_id).state == "succeeded", cloud.action(action_id).fault
        postman.quiet()
        before = dumps(n1, cloud)
        postman.deliver_late()
        assert dumps(n1, cloud) == before

    twice_and_late(action_id)
    for kind, args in (
        ("stop", {}),
        ("start", {}),
        ("reboot", {"type": "SOFT"}),
        ("reboot", {"type": "HARD"}),
        ("delete", {}),
    ):
        twice_and_late(request(who, server_id, kind, **args))
    assert listing(n1, cloud) == before_all
