"""Many at once at the edge of a quota: exactly as many are let in as it has room for.

Threads ask the HTTP application, each on a database connection of its own, on SQLite and on
PostgreSQL; what a refused request took must be back, and what is counted must be what is there.
"""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import Any

import pytest
from sqlalchemy import func, select

from app.models import Flavor, Keypair, Project, QuotaUsage, Server, User
from app.store import database, quotas
from app.store.database import reading, transaction
from app.web.compute.sshkeys import generate
from app.web.factory import create_app
from tests import templates
from tests.asking import forget_process_state
from tests.integration.web_fixtures import Site, adopt_settings
from tests.postgres import fresh_database

V = "/compute/v2.1"
AT_ONCE = 4
PUBLIC = generate("test")[1]
Call = Callable[[], Any]


@pytest.fixture(params=["sqlite", "postgresql"])
def site(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """An application on one of the two databases."""
    url = f"sqlite:///{tmp_path / 'novella.sqlite'}"
    if request.param == "postgresql":
        server = request.getfixturevalue("postgres")
        url = fresh_database(server, f"quota-{uuid.uuid4().hex[:8]}")
    templates.started(url)
    made = Site(create_app(adopt_settings(monkeypatch, tmp_path, database_url=url)), tmp_path)
    yield made
    database.engine().dispose()
    forget_process_state()


def project() -> str:
    """The project whose quota it is."""
    with reading() as session:
        return session.scalars(select(Project.id).where(Project.name == "novella")).one()


def at_once(pool: ThreadPoolExecutor, *calls: Call) -> list[int]:
    """What the calls answer when all begin at the same moment, in order."""
    barrier = Barrier(len(calls))

    def run(call: Call) -> int:
        barrier.wait(10)
        return int(call().status_code)

    return sorted(pool.map(run, calls))


def used() -> dict[str, int]:
    """What is counted; fails unless it is what the servers that are there take."""
    sums = select(func.count(), func.sum(Server.vcpus), func.sum(Server.ram_mb))
    with reading() as session:
        usage = quotas.usage(session, project())
        there = session.execute(sums.where(Server.deleted_at.is_(None))).one()
    taken = dict(zip(("instances", "cores", "ram"), (n or 0 for n in there), strict=True))
    counted = {name: usage[name] for name in quotas.COUNTED}
    assert counted == taken
    return counted


def limit(**limits: int) -> None:
    """Set the project's limits."""
    with transaction() as session:
        quotas.set_limits(session, project(), limits, force=True)


def remove_all(site: Site) -> None:
    """Delete every server."""
    for server in site.get(f"{V}/servers").json["servers"]:
        assert site.delete(f"{V}/servers/{server['id']}").status_code == 204


@pytest.mark.parametrize("resource", ["instances", "cores", "ram"])
def test_concurrent_creates_never_pass_the_edge(site: Site, resource: str) -> None:
    body = {"server": {"name": "vm", "flavorRef": "6", "imageRef": site.add_image()}}
    with reading() as session:
        flavor = session.get_one(Flavor, "6")
        each = {"instances": 1, "cores": flavor.vcpus, "ram": flavor.ram_mb}[resource]
    create = lambda: site.post(f"{V}/servers", json=body)  # noqa: E731
    site.token()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for round_ in range(12):
            room = 1 + round_ % 2
            # One short of the next server is still the edge.
            limit(**{resource: used()[resource] + each * (room + 1) - 1})
            got = Counter(at_once(pool, *[create] * AT_ONCE))
            assert got == {202: room, 403: AT_ONCE - room}
            used()
            if round_ % 4 == 3:
                remove_all(site)
    remove_all(site)
    assert set(used().values()) == {0}


def test_creates_of_several_and_deletes_at_the_edge_never_pass_it(site: Site) -> None:
    image = site.add_image()
    limit(instances=4, cores=4)
    site.token()

    def create(low: int, high: int) -> Call:
        counts = {"min_count": low, "max_count": high}
        body = {"server": {"name": "vm", "flavorRef": "6", "imageRef": image} | counts}
        return lambda: site.post(f"{V}/servers", json=body)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(10):
            standing = site.get(f"{V}/servers").json["servers"]
            delete = [
                lambda id_=one["id"]: site.delete(f"{V}/servers/{id_}") for one in standing[:2]
            ]
            got = at_once(pool, *[create(1, 3), create(2, 2), *delete][:AT_ONCE])
            assert set(got) <= {202, 204, 403}
            assert used()["instances"] <= 4


def test_a_limit_that_is_lowered_meanwhile_is_not_passed(site: Site) -> None:
    body = {"server": {"name": "vm", "flavorRef": "6", "imageRef": site.add_image()}}
    path = f"{V}/os-quota-sets/{project()}"
    site.token()
    site.token("admin")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for _ in range(15):
            limit(instances=2)
            create = lambda: site.post(f"{V}/servers", json=body)  # noqa: E731
            lower = lambda: site.call(  # noqa: E731
                "PUT", path, "admin", json={"quota_set": {"instances": 1}}
            )
            got = at_once(pool, create, lower, create)
            assert set(got) <= {200, 202, 400, 403}
            with reading() as session:
                allowed = quotas.limits(session, project())["instances"]
            assert used()["instances"] <= allowed
            assert (allowed == 1) is (200 in got)
            remove_all(site)


def test_concurrent_keys_never_pass_the_edge_nor_share_a_name(site: Site) -> None:
    with reading() as session:
        owner = session.scalars(select(User.id).where(User.name == "novella")).one()

    def kept() -> int:
        with reading() as session:
            mine = select(func.count()).where(Keypair.user_id == owner)
            return session.scalar(mine) or 0

    def create(name: str) -> Call:
        body = {"keypair": {"name": name, "public_key": PUBLIC}}
        return lambda: site.post(f"{V}/os-keypairs", json=body, version="2.2")

    site.token()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for round_ in range(12):
            limit(key_pairs=kept() + 1)
            got = at_once(pool, *[create(f"k{round_}-{n}") for n in range(AT_ONCE)])
            assert Counter(got) == {201: 1, 403: AT_ONCE - 1}
            limit(key_pairs=kept() + AT_ONCE)
            got = at_once(pool, *[create(f"same{round_}")] * AT_ONCE)
            assert Counter(got) == {201: 1, 409: AT_ONCE - 1}


def test_the_rows_of_uses_are_there_once_however_many_begin_at_once(site: Site) -> None:
    body = {"server": {"name": "vm", "flavorRef": "6", "imageRef": site.add_image()}}
    create = lambda: site.post(f"{V}/servers", json=body)  # noqa: E731
    site.token()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        assert at_once(pool, *[create] * AT_ONCE) == [202] * AT_ONCE
    with reading() as session:
        mine = select(func.count()).where(QuotaUsage.project_id == project())
        assert session.scalar(mine) == 3
    assert used()["instances"] == AT_ONCE
