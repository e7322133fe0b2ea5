"""OpenStack's own client and SDK against a cloud that bin/up made, with real guests."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import openstack
import pytest

from tests.integration.virt_fixtures import require_libvirtd
from tests.local_cloud import CHECKOUT, Local

pytestmark = [
    pytest.mark.timeout(600),
    pytest.mark.filterwarnings("ignore:::openstack"),  # the SDK warns of itself
]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Local]:
    """A cloud with libvirt and no servers."""
    require_libvirtd()
    made = Local(tmp_path_factory.mktemp("stock"), driver="", host="n1")
    try:
        up = made.up(NOVELLA_VIRT_TYPE="qemu")
        assert up.returncode == 0, up.stdout + up.stderr
        yield made
    finally:
        made.down()


def test_the_stock_client_gets_all_keys_that_it_expects(cloud: Local, tiny_image: Path) -> None:
    tour = cloud.run(
        *(sys.executable, str(CHECKOUT / "tools/client_tour"), "--image", str(tiny_image)),
        timeout=500,
        OS_CLIENT_CONFIG_FILE=str(cloud.state / "clouds.yaml"),
    )
    assert tour.returncode == 0, tour.stdout + tour.stderr
    assert "0 differences" in tour.stdout
    # Nothing of the tour's is left.
    client = cloud.run(
        *(str(Path(sys.executable).with_name("openstack")), "--os-cloud", "novella-admin"),
        *("server", "list", "--all-projects", "-f", "value"),
        OS_CLIENT_CONFIG_FILE=str(cloud.state / "clouds.yaml"),
    )
    assert (client.returncode, client.stdout.strip()) == (0, "")


def test_the_sdk_s_cloud_layer_creates_and_deletes_a_server(cloud: Local, tiny_image: Path) -> None:
    os.environ["OS_CLIENT_CONFIG_FILE"] = str(cloud.state / "clouds.yaml")
    with openstack.connect(cloud="novella") as connection:
        image = connection.create_image(
            "sdk", filename=str(tiny_image), disk_format="qcow2", container_format="bare", wait=True
        )
        key = connection.create_keypair("sdk-key")
        assert key.private_key
        server = connection.create_server(
            "from-the-sdk",
            image="sdk",
            flavor="tiny",
            network="default",
            key_name="sdk-key",
            meta={"made_by": "sdk"},
            userdata="#!/bin/sh\n",
            auto_ip=False,
            wait=True,
            timeout=240,
        )
        assert (server.status, server.key_name) == ("ACTIVE", "sdk-key")
        assert connection.get_server("from-the-sdk").id == server.id
        assert connection.get_server_console(server) is not None
        assert connection.delete_server(server.id, wait=True, timeout=120)
        assert connection.get_server(server.id) is None
        assert connection.delete_keypair("sdk-key")
        assert connection.delete_image(image.id, wait=True)
