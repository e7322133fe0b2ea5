"""Hosts fetch images ahead of builds, whatever dies in between; fake driver, real processes."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.models import Precache
from app.store import database, hosts_admin, precaches
from tests.asking import add_image, adopt, caller, forget_process_state
from tests.cloud import Cloud, eventually, running
from tests.http_client import Client
from tests.integration.host_rows import add_host
from tests.postgres import fresh_database

HOST, CONTROL = "host-n1", "control"
MOMENTS = {
    "precache.before": HOST,
    "precache.after": HOST,
    "precached.before": CONTROL,
    "precached.after": CONTROL,
}
"""Where a worker can die, and which."""


@pytest.fixture
def mortal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A cloud with one host, whose workers can be made to die."""
    (tmp_path / "failpoints").mkdir()
    settings = {"failpoints": str(tmp_path / "failpoints")}
    with running(Cloud(tmp_path, settings=settings)) as made:
        adopt(made, monkeypatch)
        made.start_control()
        made.start_host("n1")
        made.hosts_up("n1")
        yield made


@pytest.fixture
def on_postgres(postgres: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """A cloud's rows on PostgreSQL, and nothing that runs."""
    made = Cloud(tmp_path, database_url=fresh_database(postgres, f"p{uuid.uuid4().hex}"))
    made.prepare()
    adopt(made, monkeypatch)
    yield made
    database.engine().dispose()
    made.stop()
    forget_process_state()


def ask(image: str, *hosts: str, seconds: float = 600) -> None:
    """Have the hosts fetch the image, as web does."""
    with database.transaction() as session:
        precaches.ask(session, hosts, [image], f"req-{image}", seconds)


def rung(session: Session, *hosts: str) -> list[Precache]:
    """What the hosts are rung for now, as a sweep takes it."""
    return precaches.take(session, precaches.due(session, hosts))


def states(cloud: Cloud) -> dict[str, str]:
    """Each host's row's state."""
    return {row.host: row.state for row in cloud.scalars(select(Precache))}


def cached(cloud: Cloud, host: str) -> list[str]:
    """What the host has in its cache by its own word."""
    path = cloud.directory / "hosts" / host / "fake.json"
    return sorted(json.loads(path.read_text()).get("images", {}))


def test_the_images_that_are_asked_for_are_in_the_caches_of_the_aggregates_hosts(
    cloud: Cloud,
) -> None:
    cloud.start_control()
    cloud.start_web()
    for name in ("n1", "n2", "n3"):
        cloud.start_host(name)
    cloud.hosts_up("n1", "n2", "n3")
    with database.transaction() as session:
        hosts_admin.disable(session, "n2", None)
    admin = Client(f"http://127.0.0.1:{cloud.web_port}", "admin")
    path = "/compute/v2.1/os-aggregates"
    made = admin.call("POST", path, json={"aggregate": {"name": "a"}}).json()["aggregate"]["id"]
    for name in ("n1", "n2"):
        admin.call("POST", f"{path}/{made}/action", json={"add_host": {"host": name}})
    images = sorted(add_image(cloud, caller(cloud).project_id) for _ in range(5))
    body: dict[str, Any] = {"cache": [{"id": image} for image in images]}
    at = {"OpenStack-API-Version": "compute 2.81"}
    admin.call("POST", f"{path}/{made}/images", 202, json=body, headers=at)

    def shown() -> dict[str, list[str]]:
        found: dict[str, list[str]] = {}
        for one in admin.call("GET", f"/v1/aggregates/{made}/images").json()["images"]:
            found.setdefault(one["host"], []).append(one["state"])
        return found

    done = {"n1": ["cached"] * 5, "n2": ["skipped"] * 5}
    eventually(lambda: shown() == done, 30, "all five are in the cache of n1")
    assert (cached(cloud, "n1"), cached(cloud, "n3")) == (images, [])


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_worker_that_dies_costs_only_time(mortal: Cloud, moment: str) -> None:
    image = add_image(mortal, caller(mortal).project_id)
    (mortal.directory / "failpoints" / moment).touch()
    dying = mortal.processes[MOMENTS[moment]]
    ask(image, "n1")
    eventually(lambda: dying.poll() is not None, 20, f"a worker dies at {moment}")
    del mortal.processes[MOMENTS[moment]]
    mortal.redis().flushall()
    if MOMENTS[moment] == HOST:
        mortal.start_host("n1")
    else:
        mortal.start_control()
    eventually(lambda: states(mortal) == {"n1": "cached"}, 60, "the host has the image")
    assert cached(mortal, "n1") == [image]


def test_a_host_that_cannot_is_told_of_with_its_fault_and_one_that_is_dead_at_the_deadline(
    cloud: Cloud,
) -> None:
    cloud.start_control(down_after="5")
    cloud.start_host("n1", fake_faults="cache_image=always!")
    cloud.start_host("n2", fake_delay="600")
    cloud.hosts_up("n1", "n2")
    image = add_image(cloud, caller(cloud).project_id)
    ask(image, "n1", "n2", seconds=8)
    cloud.kill("host-n2")
    ended = {"n1": "failed", "n2": "failed"}
    eventually(lambda: states(cloud) == ended, 60, "both have ended")
    codes = {row.host: (row.fault or {})["code"] for row in cloud.scalars(select(Precache))}
    assert codes == {"n1": "fake_fault", "n2": "deadline"}


def test_a_download_that_runs_is_seen_and_not_begun_twice(cloud: Cloud) -> None:
    cloud.start_control()
    cloud.start_host("n1", fake_delay="6")
    cloud.hosts_up("n1")
    ask(add_image(cloud, caller(cloud).project_id), "n1")
    eventually(lambda: states(cloud) == {"n1": "cached"}, 60, "the host has the image")
    told = "an image was to be fetched"  # once it is written
    assert eventually(lambda: cloud.log("control").count(told), 10, told) == 1
    assert cloud.log("host-n1").count("no image is fetched") <= 1


def test_two_sweeps_on_postgresql_ring_each_row_once(on_postgres: Cloud) -> None:
    for number, name in enumerate(("n1", "n2")):
        add_host(name, number + 1)
    for _ in range(3):
        ask(add_image(on_postgres, caller(on_postgres).project_id), "n1", "n2")
    with database.transaction() as one:
        first = rung(one, "n1", "n2")
        assert sorted(row.host for row in first) == ["n1", "n1", "n2", "n2"]
        with database.transaction() as other:
            assert rung(other, "n1", "n2") == []
    assert states(on_postgres) == {"n1": "waiting", "n2": "waiting"}
    with database.transaction() as session:
        for row in first:
            assert precaches.settle(session, row.id, row.host, 0, None) == "cached"
        assert len(rung(session, "n1", "n2")) == 2
