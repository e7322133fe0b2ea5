"""The core of the product over each broker and database, chosen by URL alone.

Real web, scheduler worker and hosts, one outage in mid-work each; one run has real guests.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.cloud import Cloud, allowed, eventually
from tests.e2e.conftest import LIBVIRT
from tests.http_client import Client
from tests.integration.virt_fixtures import OwnLibvirtd
from tests.postgres import CRASH, postgresql_server
from tests.rabbitmq import rabbitmq
from tests.redis_servers import password_redis, sentinels, tls_redis

SERVERS = "/compute/v2.1/servers"


@dataclass
class Parts:
    """Where a cloud's messages and rows are; `fell` and `rise` are an outage of one of them."""

    fall: Callable[[], None]
    rise: Callable[[], None] = lambda: None
    settings: dict[str, str] = field(default_factory=dict)
    database_url: str = ""
    is_database: bool = False
    hosts: tuple[str, ...] = ("n1", "n2")


@contextmanager
def redis_with_a_password(directory: Path) -> Iterator[Parts]:
    with password_redis(directory / "redis") as server:
        yield Parts(server.kill, server.start, {"broker_url": server.url})


@contextmanager
def redis_with_tls(directory: Path) -> Iterator[Parts]:
    with tls_redis(directory / "redis") as server:
        yield Parts(server.kill, server.start, {"broker_url": server.url})


@contextmanager
def sentinel(directory: Path) -> Iterator[Parts]:
    with sentinels(directory / "redis") as servers:
        yield Parts(lambda: servers.master().kill(), settings={"broker_url": servers.url})


@contextmanager
def rabbitmq_and_redis(directory: Path) -> Iterator[Parts]:
    with rabbitmq() as node, password_redis(directory / "redis") as results:
        settings = {"broker_url": node.url, "result_url": results.url}
        yield Parts(node.kill, node.start, settings)


@contextmanager
def postgresql(directory: Path) -> Iterator[Parts]:
    with postgresql_server() as database, password_redis(directory / "redis") as server:
        settings = {"broker_url": server.url}
        fall = lambda: database.stop(CRASH)  # noqa: E731
        yield Parts(fall, database.start, settings, database.url, is_database=True)


@contextmanager
def started(directory: Path, parts: Parts) -> Iterator[tuple[Cloud, Client]]:
    """A cloud of these parts with web, a scheduler worker and its hosts."""
    settings = {"fake_delay": "0.3"} | parts.settings
    made = Cloud(directory, settings=settings, database_url=parts.database_url)
    try:
        made.prepare()
        made.start_control()
        for name in parts.hosts:
            made.start_host(name)
        made.start_web()
        made.hosts_up(*parts.hosts, seconds=60)
        yield made, Client(f"http://127.0.0.1:{made.web_port}")
    finally:
        made.stop()


@pytest.mark.parametrize(
    "kind", [redis_with_a_password, redis_with_tls, sentinel, rabbitmq_and_redis, postgresql]
)
def test_servers_live_and_end_well_over(
    kind: Callable[[Path], Any], tmp_path: Path, tiny_image: Path
) -> None:
    with kind(tmp_path) as parts, started(tmp_path, parts) as (_, client):
        image = client.upload(tiny_image)
        live(client, image, several=3)
        outage(client, image, parts)
        end(client)


def test_real_guests_live_and_end_well_over_rabbitmq_and_postgresql(
    tmp_path: Path, tiny_image: Path, hypervisors: Callable[[str], OwnLibvirtd]
) -> None:
    with ExitStack() as stack:
        parts = stack.enter_context(rabbitmq_and_redis(tmp_path))
        database = stack.enter_context(postgresql_server())
        parts.database_url, parts.hosts = database.url, ("n1",)
        uri = hypervisors("n1").uri
        parts.settings |= {"driver": LIBVIRT, "virt_type": "qemu", "libvirt_uri": uri}
        _, client = stack.enter_context(started(tmp_path, parts))
        image = client.upload(tiny_image)
        server = live(client, image, several=2)
        client.says(server, "NOVELLA-GUEST ready")
        outage(client, image, parts)
        end(client)


def live(client: Client, image: str, several: int) -> str:
    """One server and several at once; the one is stopped, started and rebooted. Its id."""
    assert client.call("GET", "/readyz").json()["broker"]["ok"]
    begun = time.monotonic()
    server, task = client.create(image)
    succeeded(client, task)
    client.create(image, min_count=several, max_count=several)
    for act in ({"os-stop": None}, {"os-start": None}, {"reboot": {"type": "HARD"}}):
        succeeded(client, client.act(server, **act))
    eventually(lambda: statuses(client) == ["ACTIVE"] * (1 + several), 60, "all are active")
    assert time.monotonic() - begun < allowed(60)
    return server


def outage(client: Client, image: str, parts: Parts) -> None:
    """What was accepted before and during an outage ends well after it."""
    before = len(statuses(client))
    asked = [client.create(image, "before")[1], client.create(image, "before")[1]]
    parts.fall()
    if parts.is_database:
        body = {"server": {"name": "refused", "imageRef": image, "flavorRef": "6"}}
        refused = client.call("POST", SERVERS, 503, json=body)
        assert refused.headers["Retry-After"]
        assert "the database" in refused.text
    else:
        begun = time.monotonic()
        asked.append(client.create(image, "during")[1])
        assert time.monotonic() - begun < allowed(3)
    parts.rise()
    for task in asked:
        succeeded(client, task)
    assert statuses(client) == ["ACTIVE"] * (before + len(asked))


def end(client: Client) -> None:
    """All servers are deleted."""
    ids = [one["id"] for one in client.call("GET", SERVERS).json()["servers"]]
    for task in [client.delete(server) for server in ids]:
        succeeded(client, task)
    assert statuses(client) == []


def succeeded(client: Client, task_id: str) -> None:
    """The task's end is a good one."""
    task = client.finished(task_id)
    assert task["state"] == "succeeded", task["fault"]


def statuses(client: Client) -> list[str]:
    """The status of each server."""
    shown = client.call("GET", f"{SERVERS}/detail").json()["servers"]
    return [str(server["status"]) for server in shown]
