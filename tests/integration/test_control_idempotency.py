"""Every POST takes an Idempotency-Key: repeated, also at the same moment, it has one effect."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from app.models import (
    Action,
    Base,
    Idempotency,
    Keypair,
    Project,
    Role,
    RoleAssignment,
    Server,
    User,
)
from app.store import database, migrations, seed
from app.web.factory import create_app
from tests.asking import forget_process_state
from tests.integration.host_rows import add_host
from tests.integration.web_fixtures import PASSWORDS, Site, adopt_settings, seeded_database, site
from tests.postgres import fresh_database
from tests.routes import endpoints

__all__ = ["seeded_database", "site"]
V = "/compute/v2.1"
READS = "os-getConsoleOutput"
Asking = tuple[str, str, dict[str, Any] | None]


def user_id(name: str) -> str:
    """A user's id."""
    with database.reading() as session:
        return session.scalars(select(User.id).where(User.name == name)).one()


def image(site: Site, staged: bool = False) -> str:
    """An image of novella's, active or with staged data."""
    if not staged:
        return site.add_image()
    body = {"name": "staged", "disk_format": "raw", "container_format": "bare"}
    made = str(site.post("/image/v2/images", json=body).json["id"])
    put = site.call("PUT", f"/image/v2/images/{made}/stage", data=b"x" * 512,
                    content_type="application/octet-stream")  # fmt: skip
    assert put.status_code == 204, put.text
    return made


def private_flavor(site: Site) -> str:
    """A flavor that not all projects may use."""
    wanted = {"name": "own", "ram": 64, "vcpus": 1, "disk": 1, "os-flavor-access:is_public": False}
    return str(site.post(f"{V}/flavors", "admin", json={"flavor": wanted}).json["flavor"]["id"])


def built(site: Site, **columns: Any) -> str:
    """A server on a host."""
    add_host("n1", 1)
    server = site.built()
    site.set_server(server, **columns)
    return server


def _on_server(action: str, value: Any = None, **columns: Any) -> Callable[[Site], Asking]:
    return lambda site: ("novella", f"{V}/servers/{built(site, **columns)}/action", {action: value})


ASKED: dict[str, Callable[[Site], Asking]] = {
    "/compute/v2.1/servers": lambda site: (
        "novella", f"{V}/servers",
        {"server": {"name": "vm", "flavorRef": "6", "imageRef": image(site)}},
    ),
    "/compute/v2.1/servers/<server_id>/action os-start": _on_server("os-start", vm_state="stopped"),
    "/compute/v2.1/servers/<server_id>/action os-stop": _on_server("os-stop"),
    "/compute/v2.1/servers/<server_id>/action reboot": _on_server("reboot", {"type": "HARD"}),
    "/compute/v2.1/servers/<server_id>/action lock": _on_server("lock"),
    "/compute/v2.1/servers/<server_id>/action unlock": _on_server("unlock"),
    "/compute/v2.1/servers/<server_id>/action pause": _on_server("pause"),
    "/compute/v2.1/servers/<server_id>/action unpause": _on_server("unpause", vm_state="paused"),
    "/compute/v2.1/servers/<server_id>/action suspend": _on_server("suspend"),
    "/compute/v2.1/servers/<server_id>/action resume": _on_server("resume", vm_state="suspended"),
    "/compute/v2.1/os-aggregates": lambda site: (
        "admin", f"{V}/os-aggregates", {"aggregate": {"name": "new"}},
    ),
    "/compute/v2.1/os-server-groups": lambda site: (
        "novella", f"{V}/os-server-groups",
        {"server_group": {"name": "new", "policies": ["affinity"]}},
    ),
    "/network/v2.0/networks": lambda site: (
        "novella", "/network/v2.0/networks", {"network": {"name": "new"}},
    ),
    "/network/v2.0/security-groups": lambda site: (
        "novella", "/network/v2.0/security-groups", {"security_group": {"name": "new"}},
    ),
    "/compute/v2.1/servers/<server_id>/metadata": lambda site: (
        "novella", f"{V}/servers/{built(site)}/metadata", {"metadata": {"a": "b"}},
    ),
    "/compute/v2.1/flavors": lambda site: (
        "admin", f"{V}/flavors", {"flavor": {"name": "own", "ram": 64, "vcpus": 1, "disk": 1}},
    ),
    "/compute/v2.1/flavors/<flavor_id>/action": lambda site: (
        "admin", f"{V}/flavors/{private_flavor(site)}/action",
        {"addTenantAccess": {"tenant": _project("novella")}},
    ),
    "/compute/v2.1/flavors/<flavor_id>/os-extra_specs": lambda site: (
        "admin", f"{V}/flavors/6/os-extra_specs", {"extra_specs": {"hw:cpu_policy": "shared"}},
    ),
    "/compute/v2.1/os-keypairs": lambda site: (
        "novella", f"{V}/os-keypairs", {"keypair": {"name": "mine"}},
    ),
    "/identity/v3/users": lambda site: (
        "admin", "/identity/v3/users", {"user": {"name": "new", "password": "a-password"}},
    ),
    "/identity/v3/users/<user_id>/password": lambda site: (
        "admin", f"/identity/v3/users/{user_id('admin')}/password",
        {"user": {"password": "another", "original_password": PASSWORDS["admin"]}},
    ),
    "/identity/v3/users/<user_id>/application_credentials": lambda site: (
        "novella", f"/identity/v3/users/{user_id('novella')}/application_credentials",
        {"application_credential": {"name": "robot"}},
    ),
    "/identity/v3/projects": lambda site: (
        "admin", "/identity/v3/projects", {"project": {"name": "new"}},
    ),
    "/identity/v3/roles": lambda site: ("admin", "/identity/v3/roles", {"role": {"name": "new"}}),
    "/image/v2/images": lambda site: ("novella", "/image/v2/images", {"name": "new"}),
    "/image/v2/images/<image_id>/import": lambda site: (
        "novella", f"/image/v2/images/{image(site, staged=True)}/import",
        {"method": {"name": "glance-direct"}},
    ),
    "/image/v2/images/<image_id>/actions/deactivate": lambda site: (
        "admin", f"/image/v2/images/{image(site)}/actions/deactivate", None,
    ),
    "/image/v2/images/<image_id>/actions/reactivate": lambda site: (
        "admin", f"/image/v2/images/{image(site)}/actions/reactivate", None,
    ),
    "/v1/hosts/tokens": lambda site: ("admin", "/v1/hosts/tokens", {"minutes": 5}),
}  # fmt: skip
"""For each POST that makes or does something: who asks, the path, and the body."""


def _project(name: str) -> str:
    with database.reading() as session:
        return session.scalars(select(Project.id).where(Project.name == name)).one()


def keyed(site: Site, asking: Asking, key: str = "a-key", **more: Any) -> TestResponse:
    """The POST with a key; tokens that it voids are got anew."""
    user, path, body = asking
    headers = {"Idempotency-Key": key, "X-Auth-Token": site.token(user)} | more
    return site.client.post(path, json=body, headers=headers)


def rows() -> dict[str, list[Any]]:
    """Every table's rows but the kept answers."""
    with database.engine().connect() as connection:
        return {
            table.name: sorted(map(repr, connection.execute(table.select())))
            for table in Base.metadata.sorted_tables
            if table.name != Idempotency.__tablename__
        }


def count(table: type[Base]) -> int:
    """How many rows a table has."""
    with database.reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


def test_each_post_takes_a_key_or_says_why_not(site: Site) -> None:
    posts = [one for one in endpoints(site.app) if one.method == "POST"]
    named = {f"{one.path} {one.label}".strip() for one in posts if not one.view.keyless}
    assert set(ASKED) <= named - {f"{V}/servers/<server_id>/action {READS}"}
    keyless = {one.path: one.view.keyless for one in posts if one.view.keyless}
    assert len([path for path in keyless if not path.startswith("/network/")]) == 6


@pytest.mark.parametrize("endpoint", sorted(ASKED))
def test_a_repeated_post_has_one_effect_and_the_same_answer(site: Site, endpoint: str) -> None:
    asking = ASKED[endpoint](site)
    first = keyed(site, asking)
    assert first.status_code < 300, first.text
    after = rows()
    if endpoint.endswith("/password"):
        site.tokens["admin"] = site.log_in("admin", "another").headers["X-Subject-Token"]
    second = keyed(site, asking)
    assert (second.status_code, second.text) == (first.status_code, first.text)
    assert second.headers["Idempotent-Replayed"] == "true"
    own = {"x-openstack-request-id", "x-compute-request-id", "date", "idempotent-replayed"}
    kept = [
        sorted((name, value) for name, value in one.headers if name.lower() not in own | {"link"})
        for one in (first, second)
    ]
    assert kept[0] == kept[1]
    assert rows() == after
    assert keyed(site, asking, "another-key").headers.get("Idempotent-Replayed") is None


def test_the_key_of_one_post_is_422_for_another(site: Site) -> None:
    role = ("admin", "/identity/v3/roles", {"role": {"name": "new"}})
    assert keyed(site, role).status_code == 201
    assert keyed(site, ("admin", role[1], {"role": {"name": "newer"}})).status_code == 422
    project = ("admin", "/identity/v3/projects", {"project": {"name": "new"}})
    assert keyed(site, project).status_code == 422
    assert count(Project) == 3


def test_a_private_key_is_told_again_to_its_owner_only(site: Site) -> None:
    asking = ("novella", f"{V}/os-keypairs", {"keypair": {"name": "mine"}})
    made = keyed(site, asking)
    assert "PRIVATE KEY" in made.json["keypair"]["private_key"]
    with database.engine().connect() as connection:
        kept = str(connection.exec_driver_sql("SELECT body FROM idempotency").scalar())
    assert "PRIVATE" not in kept
    assert "ssh-" not in kept
    # A colleague on the same project, with the same key and body.
    with database.transaction() as session:
        novella = session.scalars(select(Project).where(Project.name == "novella")).one()
        other = session.scalars(select(User).where(User.name == "other")).one()
        role = session.scalars(select(Role.id).where(Role.name == "member")).one()
        given = {"scope": "project", "target_id": novella.id}
        session.add(RoleAssignment(user_id=other.id, role_id=role, **given))
    token = site.log_in("other", "other-password", "novella").headers["X-Subject-Token"]
    answer = keyed(site, asking, **{"X-Auth-Token": token})
    assert answer.status_code == 422
    assert "PRIVATE" not in answer.text
    assert count(Keypair) == 1


@pytest.fixture(params=["sqlite", "postgresql"])
def either(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Site]:
    """A site on either database."""
    url = f"sqlite:///{tmp_path / 'novella.sqlite'}"
    if request.param == "postgresql":
        url = fresh_database(request.getfixturevalue("postgres"), f"i{uuid.uuid4().hex}")
    migrations.upgrade(url)
    configured = adopt_settings(monkeypatch, tmp_path, database_url=url)
    with database.transaction() as session:
        seed.first_start(session, network_cidr="10.77.0.0/24", passwords=PASSWORDS)
    yield Site(create_app(configured), tmp_path)
    database.engine().dispose()
    forget_process_state()


def test_the_same_post_from_many_clients_at_once_has_one_effect(either: Site) -> None:
    server = {"server": {"name": "vm", "flavorRef": "6", "imageRef": either.add_image()}}
    asking: Asking = ("novella", f"{V}/servers", server)
    role: Asking = ("admin", "/identity/v3/roles", {"role": {"name": "new"}})
    either.token("admin")
    for asked in (asking, role):
        with ThreadPoolExecutor(8) as clients:
            answers = list(clients.map(lambda _, asked=asked: keyed(either, asked), range(8)))
        assert {one.status_code for one in answers} <= {201, 202}, [one.text for one in answers]
        assert len({one.text for one in answers}) == 1
        assert [one.headers.get("Idempotent-Replayed") for one in answers].count("true") == 7
    assert (count(Server), count(Action)) == (1, 1)
