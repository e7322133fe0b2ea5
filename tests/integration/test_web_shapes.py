"""Every answer has a shape, and has it at each microversion that changes it.

That answers fit their shapes is held by the fixture `site`, here and in all tests of web.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

from sqlalchemy import select

from app.models import Host, Role
from app.store import database
from app.web.microversions import MAX, MIN, Version, shown
from app.web.openapi import statuses
from app.web.openapi.document import routes
from app.web.shapes.parts import Changed, Field, Record, Sight
from tests.integration.tenants import Tenant, quiet, seeded_database, site, tenants
from tests.integration.web_fixtures import Site
from tests.routes import Endpoint, endpoints

__all__ = ["quiet", "seeded_database", "site", "tenants"]
V = "/compute/v2.1"
SHAPELESS = {
    ("POST", f"{V}/servers/<server_id>/action"),  # each action has its own
    ("GET", "/image/v2/images/<image_id>/file"),  # bytes
    ("PUT", "/image/v2/images/<image_id>/file"),  # a host's upload has a body, others have none
    ("GET", "/metrics"),  # text
    ("GET", "/v1/tasks/<task_id>/events"),  # a stream
}
ELSEWHERE = {f"{V}/servers/<server_id>/diagnostics"}
"""What a host reads: other tests ask for it."""


def test_every_successful_answer_with_a_body_has_a_shape_but_for_these(site: Site) -> None:
    found = set()
    for path, view in routes(site.app):
        for method in view.methods or ():
            if method in ("HEAD", "OPTIONS") or method.lower() in view.shows:
                continue
            told = statuses.of(view, method.lower(), path)
            if any(status < 300 and status != 204 for status in told):
                found.add((method, path))
    assert found == SHAPELESS


def test_shapes_are_told_of_only_for_methods_that_are_there_and_succeed(site: Site) -> None:
    for path, view in routes(site.app):
        for method in view.shows:
            assert method.upper() in (view.methods or ()), (method, path)
            assert min(statuses.of(view, method, path)) < 300, (method, path)


def test_what_is_read_has_its_shape_at_each_microversion_that_changes_it(
    site: Site, tenants: tuple[Tenant, Tenant]
) -> None:
    _furnish_more(site, tenants[0])
    unread = set()
    for endpoint in endpoints(site.app):
        if endpoint.method != "GET" or "get" not in endpoint.view.shows:
            continue
        first, last = endpoint.view.versions.get("get", (MIN, MAX))
        for version in moments(endpoint.view.shows["get"], first, last):
            path = endpoint.at(_values(tenants[0], endpoint, version))
            path += f"?flavor={tenants[0].things['flavor_id']}" * (path == "/v1/capacity")
            users = ("alfa-admin", "alfa-member")
            more = {"version": shown(version), "headers": {"X-Subject-Token": site.token(users[1])}}
            got = [site.get(path, user, **more).status_code for user in users]
            if min(got) >= 300:
                unread.add(endpoint.path)
    assert unread == ELSEWHERE


def moments(part: Any, first: Version, last: Version) -> list[Version]:
    """The first and the last version, and each at which `part` changes with the one before it."""
    found = {first, last}
    for version in _changes(part):
        found |= {version, (version[0], version[1] - 1)}
    return sorted(version for version in found if first <= version <= last)


def _changes(part: Any) -> Iterator[Version]:
    if isinstance(part, Record):
        for field in part.fields.values():
            yield from _changes(field)
    elif isinstance(part, Field):
        yield from (part.first, (part.last[0], part.last[1] + 1))
        yield from _changes(part.part)
    elif isinstance(part, Changed):
        yield part.since
        yield from (*_changes(part.before), *_changes(part.after))
    elif isinstance(part, Mapping | list):
        for one in part.values() if isinstance(part, Mapping) else part:
            yield from _changes(one)


def _furnish_more(site: Site, tenant: Tenant) -> None:
    """What is shown besides a project's things."""
    about = {"aggregate": {"name": "rack", "availability_zone": "east"}}
    made = site.post(f"{V}/os-aggregates", "admin", json=about)
    assert made.status_code == 200, made.text
    path, item = f"{V}/images/{tenant.things['image_id']}/metadata", {tenant.things["key"]: "red"}
    put = site.call("PUT", path, "alfa-member", json={"metadata": item}, version="2.38")
    assert put.status_code == 200, put.text
    with database.transaction() as session:
        session.get_one(Host, tenant.things["host"]).booted_at = time.time() - 60
        member = session.scalars(select(Role.id).where(Role.name == "member")).one()
    path = f"/identity/v3/system/users/{tenant.things['user_id']}/roles/{member}"
    assert site.call("PUT", path, "admin").status_code == 204
    tenant.things |= {
        "aggregate_id": str(made.json["aggregate"]["id"]),
        "host_name": tenant.things["host"],
        "pattern": tenant.things["host"],
        "role_id": member,
        "endpoint_id": "compute-public",
    }


def _values(tenant: Tenant, endpoint: Endpoint, version: Version) -> dict[str, str]:
    """What the path names; a host has a number before 2.53."""
    number, uuid = str(len(tenant.name)), tenant.things["host's uuid"]
    found = tenant.values(endpoint) | {"hypervisor_id": uuid if version >= (2, 53) else number}
    return found | ({"alias": "os-hosts"} if endpoint.path.startswith(V) else {})


def test_a_field_is_there_from_its_first_version_to_its_last() -> None:
    number, text = {"type": "integer"}, {"type": "string"}
    part = Record(
        {
            "always": number,
            "young": Field(number, first=(2, 9)),
            "old": Field(number, last=(2, 8)),
            "rare": Field(number, always=False),
            "other": Changed((2, 9), number, text),
        }
    )
    before, after = Sight((2, 8)).of(part), Sight((2, 9)).of(part)
    assert before["required"] == ["always", "old", "other"]
    assert after["required"] == ["always", "young", "other"]
    assert (before["properties"]["other"], after["properties"]["other"]) == (number, text)
    assert moments(part, MIN, MAX) == [MIN, (2, 8), (2, 9), MAX]
