"""A site with so many of everything: for counting statements, and for timing lists."""

from __future__ import annotations

from typing import Any

from sqlalchemy import event, select, update

from app.domain.message import newest
from app.models import Action, Host, Server
from app.store import database
from app.tasks.control import claim, schedule
from tests.integration.web_fixtures import Site

V = "/compute/v2.1"
AT_ONCE = 250
KEYS, GROUPS = 100, 10
"""As many as the quotas allow."""


def fill_servers(site: Site, count: int) -> None:
    """So many servers as they are once built, with metadata, tags and a port each."""
    mine = site.get("/identity/v3/auth/projects").json["projects"][0]["id"]
    free = dict.fromkeys(("instances", "cores", "ram"), -1) | {"force": True}
    _done(site.call("PUT", f"{V}/os-quota-sets/{mine}", "admin", json={"quota_set": free}), 200)
    more: dict[str, Any] = {"metadata": {"role": "web", "stage": "live"}, "networks": "auto"}
    more |= {"tags": ["one", "two"], "imageRef": site.add_image()}
    for first in range(0, count, AT_ONCE):
        many = min(AT_ONCE, count - first)
        more |= {"min_count": many, "max_count": many, "name": "vm", "flavorRef": "6"}
        _done(site.post(f"{V}/servers", json={"server": more}, version="2.60"), 202)
    with database.transaction() as session:
        session.add(_host("n1", 1))
        asked = set(session.scalars(select(Action.request_id)))
    for request_id in asked:
        with database.transaction() as session:
            assert schedule.schedule(session, request_id) == []
        with database.transaction() as session:
            claim.claim(session, request_id)
    with database.transaction() as session:
        built = {"vm_state": "active", "task_state": None, "power_state": 1, "launched_at": 1.0}
        session.execute(update(Server).values(**built))
        session.execute(update(Action).values(state="succeeded", finished_at=2.0))


def fill_the_rest(site: Site, count: int) -> None:
    """So many hosts, flavors, aggregates, images, keys, users, projects and groups."""
    with database.transaction() as session:
        session.add_all(_host(f"h{number}", number + 2) for number in range(count))
    for number in range(count):
        name = f"thing-{number}"
        flavor = {"name": name, "ram": 64, "vcpus": 1, "disk": 1, "id": name}
        made = _done(site.post(f"{V}/flavors", "admin", json={"flavor": flavor}), 200)
        specs = {"extra_specs": {"a": "b"}}
        path = f"{V}/flavors/{made['flavor']['id']}/os-extra_specs"
        _done(site.post(path, "admin", json=specs), 200)
        aggregate = {"aggregate": {"name": name, "availability_zone": f"zone-{number}"}}
        made = _done(site.post(f"{V}/os-aggregates", "admin", json=aggregate), 200)
        path = f"{V}/os-aggregates/{made['aggregate']['id']}/action"
        _done(site.post(path, "admin", json={"add_host": {"host": f"h{number}"}}), 200)
        site.add_image()
        if number < KEYS:
            _done(site.post(f"{V}/os-keypairs", json={"keypair": {"name": name}}), 200)
        if number < GROUPS:
            group = {"server_group": {"name": name, "policies": ["affinity"]}}
            _done(site.post(f"{V}/os-server-groups", json=group), 200)
        site.add_user(name)


def _host(name: str, number: int) -> Host:
    return Host(
        name=name,
        number=number,
        uuid=f"uuid-{name}",
        session="s",
        state="up",
        vcpus=10**6,
        ram_mb=10**9,
        disk_gb=10**6,
        speaks=newest(),
        cpu_ratio=1.0,
        ram_ratio=1.0,
        disk_ratio=1.0,
        hostname=f"{name}.example",
        own_cpu_ratio=1.0,
        own_ram_ratio=1.0,
        own_disk_ratio=1.0,
    )


def _done(answer: Any, status: int) -> Any:
    assert answer.status_code == status, answer.text
    return answer.json


def statements(act: Any) -> list[str]:
    """The statements that `act` sends to the database of this process."""
    seen: list[str] = []

    def noted(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        seen.append(statement)

    event.listen(database.engine(), "before_cursor_execute", noted)
    try:
        act()
    finally:
        event.remove(database.engine(), "before_cursor_execute", noted)
    return seen
