"""Real QEMU guests, asked for over HTTP."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from pathlib import Path

import libvirt
import pytest

from tests.cloud import Cloud, allowed, eventually
from tests.e2e.listing import listing, unchanged
from tests.http_client import Client
from tests.integration.virt_fixtures import OwnLibvirtd

KEY = (
    "ssh-ed25519 "
    + base64.b64encode(
        b"\0\0\0\x0bssh-ed25519\0\0\0 " + hashlib.sha256(b"novella").digest()
    ).decode()
)
FINGERPRINT = (
    base64.b64encode(hashlib.sha256(base64.b64decode(KEY.split()[1])).digest()).decode().rstrip("=")
)


@pytest.fixture(scope="module")
def client(real_cloud: Cloud) -> Client:
    """The cloud's member."""
    return Client(f"http://127.0.0.1:{real_cloud.web_port}")


@pytest.fixture(scope="module")
def image(client: Client, tiny_image: Path) -> str:
    """The tiny image in the cloud."""
    return client.upload(tiny_image)


@pytest.fixture(scope="module")
def n1(hypervisors: object) -> OwnLibvirtd:
    """The cloud's hypervisor."""
    return hypervisors("n1")  # type: ignore[operator,no-any-return]


def test_a_guest_boots_with_what_was_asked_and_goes_through_its_life(
    real_cloud: Cloud, client: Client, image: str, n1: OwnLibvirtd
) -> None:
    client.call(
        "POST", "/compute/v2.1/os-keypairs", 200, json={"keypair": {"name": "k", "public_key": KEY}}
    )
    before = listing(n1, real_cloud)
    server_id, task_id = client.create(
        image, "web-1", key_name="k", user_data="#!/bin/sh\necho hello from $(hostname)\n"
    )
    task = client.finished(task_id)
    assert task["state"] == "succeeded", task["fault"]
    assert [step["name"] for step in task["steps"]] == [
        "schedule", "claim", "build", "commit", "resume",
    ]  # fmt: skip
    console = client.says(server_id, "NOVELLA-GUEST ready")
    assert "NOVELLA-GUEST hostname=web-1" in console
    assert f"NOVELLA-GUEST ssh-key=SHA256:{FINGERPRINT}" in console
    assert "NOVELLA-GUEST user-data: hello from web-1" in console
    shown = client.server(server_id)
    [[address]] = [[nic["addr"] for nic in nics] for nics in shown["addresses"].values()]
    eventually(lambda: f"NOVELLA-GUEST address={address}" in client.console(server_id), 60)

    for action, status in (
        ({"reboot": {"type": "SOFT"}}, "ACTIVE"),
        ({"reboot": {"type": "HARD"}}, "ACTIVE"),
        ({"os-stop": None}, "SHUTOFF"),
        ({"os-start": None}, "ACTIVE"),
    ):
        done = client.finished(client.act(server_id, **action))
        assert done["state"] == "succeeded", done["fault"]
        assert client.server(server_id)["status"] == status
    assert client.finished(client.delete(server_id))["state"] == "succeeded"
    client.call("GET", f"/compute/v2.1/servers/{server_id}", 404)
    unchanged(n1, real_cloud, before)


def test_a_guest_that_powers_itself_off_is_shutoff_within_three_seconds(
    real_cloud: Cloud, client: Client, image: str, n1: OwnLibvirtd
) -> None:
    server_id, task_id = client.create(
        image, "quitter", user_data="#!/bin/sh\nsleep 3; poweroff -f\n"
    )
    assert client.finished(task_id)["state"] == "succeeded"
    connection = libvirt.open(n1.uri)
    domain = connection.lookupByUUIDString(server_id)
    eventually(lambda: not domain.isActive(), 90, "the guest powers itself off")
    begun = time.monotonic()
    eventually(lambda: client.server(server_id)["status"] == "SHUTOFF", 10, "the row follows")
    assert time.monotonic() - begun < allowed(3)
    connection.close()
    client.finished(client.delete(server_id))


@pytest.mark.parametrize("moment", ["build.before", "build.after", "resume.before", "resume.after"])
def test_a_real_guest_survives_its_worker(
    real_cloud: Cloud, client: Client, image: str, n1: OwnLibvirtd, moment: str
) -> None:
    points = real_cloud.directory / "failpoints"
    points.mkdir(exist_ok=True)
    real_cloud.kill("host-n1")
    settings = {"libvirt_uri": n1.uri, "failpoints": str(points)}
    real_cloud.start_host("n1", **settings)
    victim = real_cloud.processes["host-n1"]
    (points / moment).touch()
    server_id, task_id = client.create(image, "survivor")
    eventually(lambda: victim.poll() is not None, 60, f"the worker dies at {moment}")
    real_cloud.processes.pop("host-n1")
    real_cloud.start_host("n1", **settings)
    task = client.finished(task_id)
    assert task["state"] == "succeeded", task["fault"]
    client.says(server_id, "NOVELLA-GUEST hostname=survivor")
    client.finished(client.delete(server_id))


def test_a_killed_libvirtd_delays_a_build_but_loses_nothing(
    real_cloud: Cloud, client: Client, image: str, n1: OwnLibvirtd
) -> None:
    server_id, task_id = client.create(image, "patient")
    n1.restart(pause=2.0)
    assert client.finished(task_id)["state"] == "succeeded"
    assert client.server(server_id)["status"] == "ACTIVE"
    assert client.finished(client.delete(server_id))["state"] == "succeeded"
    assert os.path.exists(n1.daemon.socket)
