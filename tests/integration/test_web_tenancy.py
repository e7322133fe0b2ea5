"""What is another project's does not exist: every route, every role, generated.

The application's own table of routes is the list: a route that is added is covered, and one with
an argument that nobody explained fails here.
"""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any

import orjson
import pytest
from werkzeug.test import TestResponse

from app.web.identity.tokens import KeyRing, Revocations, Tokens
from tests.integration.tenants import (
    PASSWORD,
    Tenant,
    dump,
    public_key,
    quiet,
    rows_about,
    seeded_database,
    site,
    tenants,
    unknown,
)
from tests.integration.web_fixtures import OCTETS, Site
from tests.routes import Endpoint, changed, endpoints, examples, places

__all__ = ["quiet", "seeded_database", "site", "tenants"]
Pair = tuple[Tenant, Tenant]
STRANGERS = ("manager", "member", "reader", "service", "none")
"""All of bravo's but its administrator, who is the whole cloud's, as in OpenStack."""

WORDS = {"key", "tag"}
"""Arguments that are free text: what is one's own may be called so too."""

OLDER = {
    **dict.fromkeys(
        ("os-security-groups", "os-security-group-rules", "os-floating-ips", "os-networks",
         "os-floating-ip-pools", "os-tenant-networks"), "2.35",
    ),
    "addFloatingIp": "2.43", "removeFloatingIp": "2.43",
}  # fmt: skip
"""Routes and actions that are no more in the newest microversion, and the last one with them."""

REFERENCES = {
    "imageRef": "image_id", "flavorRef": "flavor_id", "key_name": "name", "port": "port_id",
    "project_id": "project_id", "tenant": "project_id", "tenant_id": "project_id",
    "user_id": "user_id", "owner": "project_id", "default_project_id": "project_id",
    "fixed_ip": "address", "group": "group_id", "same_host": "server_id",
    "different_host": "server_id", "availability_zone": "zone and host", "host": "host",
    "network_id": "network_id", "subnet_id": "subnet_id", "port_id": "port_id",
    "security_group_id": "security_group_id", "remote_group_id": "security_group_id",
    "parent_group_id": "security_group_id", "group_id": "security_group_id",
    "floating_network_id": "network_id",
}  # fmt: skip
"""Fields of bodies that name something, and which thing of a project's they can name."""

NAMES = {
    "server_id": "server name", "image_id": "image name", "network_id": "network name",
    "subnet_id": "subnet name", "flavor_id": "flavor name", "project_id": "project name",
    "user_id": "name of member", "credential_id": "credential name",
}  # fmt: skip
"""What is called by an id, and has a name by which it must not be found either."""

FILTERS = {
    "name": ("server name", "image name", "network name", "flavor name"),
    "id": ("server_id", "image_id", "network_id", "port_id"),
    "marker": ("server_id", "image_id", "network_id", "subnet_id", "port_id", "flavor_id", "name",
               "task_id", "project_id", "user_id"),
    "uuid": ("server_id",), "server_id": ("server_id",), "device_id": ("server_id",),
    "network_id": ("network_id",), "subnet_id": ("subnet_id",), "project_id": ("project_id",),
    "tenant_id": ("project_id",), "owner": ("project_id",), "user_id": ("user_id",),
    "user.id": ("user_id",), "scope.project.id": ("project_id",), "host": ("host",),
    "binding:host_id": ("host",), "image": ("image_id",), "flavor": ("flavor_id",),
    "ip": ("address",), "mac_address": ("mac",), "key_name": ("name",), "tag": ("tag",),
    "tags": ("tag",), "fixed_ips": ("address filter",), "cidr": ("cidr",),
    "hypervisor_hostname": ("host",), "domain_id": ("project_id",), "request_id": ("request_id",),
}  # fmt: skip


def call(
    site: Site, tenant: Tenant, role: str, endpoint: Endpoint, path: str, **more: Any
) -> TestResponse:
    """One request of the tenant's user of that role."""
    version = OLDER.get(endpoint.path.split("/")[3] if endpoint.path.count("/") > 2 else "")
    version = OLDER.get(endpoint.label, version or "latest")
    headers = {"X-Auth-Token": tenant.tokens[role], "OpenStack-API-Version": f"compute {version}"}
    return site.client.open(path, method=endpoint.method, headers=headers, **more)


def bodies(endpoint: Endpoint, tenant: Tenant, key: str = "") -> Iterator[dict[str, Any]]:
    """What can be sent: each body that the schema allows, or data, or nothing.

    `key` is what the path calls the one item that a body has.
    """
    if endpoint.schema is not None:
        for one in examples(endpoint.schema, words(tenant)):
            sent = orjson.loads(orjson.dumps(one).replace(b'"made-up":', orjson.dumps(key) + b":"))
            yield {"json": sent if key else one, "content_type": endpoint.media_type}
    elif endpoint.media_type == OCTETS:
        yield {"data": b"x" * 100, "content_type": OCTETS}
    else:
        yield {}


def plain(answer: TestResponse, given: Mapping[str, str]) -> tuple[int, str]:
    """An answer without what differs between any two: ids that were sent, times, its own id."""
    skipped = {"x-openstack-request-id", "x-compute-request-id", "date", "content-length"}
    headers = {name.lower(): value for name, value in answer.headers if name.lower() not in skipped}
    text = answer.text + "\n" + repr(sorted(headers.items()))
    for name, value in given.items():
        text = text.replace(value, f"<{name}>")
    text = re.sub(r"req-[0-9a-f-]{36}", "<request>", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT[0-9:.]+Z?", "<time>", text)
    text = re.sub(r"\d+\.\d{3,}", "<number>", text)
    return answer.status_code, text


def learnt(alfa: Tenant, answer: TestResponse, sent: Mapping[str, str]) -> list[str]:
    """What of alfa's an answer tells besides what was asked with."""
    text = answer.text + repr(list(answer.headers))
    for value in sent.values():
        text = text.replace(value, "")
    return sorted(mark for mark in alfa.secrets if mark in text)


def words(tenant: Tenant) -> dict[str, Any]:
    """Values with which a body of this tenant's is accepted."""
    things = tenant.things
    return {
        "imageRef": things["image_id"], "flavorRef": "6", "key_name": things["name"],
        "networks": [{"uuid": things["network_id"]}], "name": "made-up", "min_count": 1,
        "max_count": 1, "availability_zone": "nova", "user_data": "", "accessIPv4": "10.1.1.1",
        "accessIPv6": "fe80::1", "security_groups": [], "block_device_mapping_v2": [],
        "block_device_mapping": [], "personality": [], "visibility": "private",
        "path": "/made-up", "disk_format": "raw", "container_format": "bare",
        "public_key": public_key(), "user_id": things["user_id"], "tenant": things["project_id"],
        "domain_id": "default", "parent_id": "default", "status": "disabled",
        "default_project_id": things["project_id"], "trusted_image_certificates": None,
        "network_id": things["network_id"], "subnet_id": things["subnet_id"],
        "security_group_id": things["security_group_id"], "gateway_ip": None,
        "parent_group_id": things["security_group_id"], "cidr": "10.98.0.0/24",
        "ethertype": "IPv4", "protocol": "udp", "direction": "egress",
        "floating_network_id": tenant.outside, "router:external": False, "shared": False,
        "project_id": things["project_id"], "tenant_id": things["project_id"],
    }  # fmt: skip


def test_another_projects_things_are_404_or_403_by_path_for_every_route_and_role(
    site: Site, tenants: Pair
) -> None:
    alfa, bravo = tenants
    before, asked = rows_about(alfa, dump()), 0
    for endpoint in endpoints(site.app):
        for values, roles in foreign(endpoint, alfa, bravo):
            for role in roles:
                statuses = compare(site, tenants, role, endpoint, values)
                asked += len(statuses)
                # A body may be refused first, but the thing must not be found once one is good.
                about = (str(endpoint), role, values, statuses)
                assert {403, 404} & set(statuses), about
                assert set(statuses) <= {400, 403, 404}, about
    assert asked > 500
    assert rows_about(alfa, dump()) == before


def compare(
    site: Site, tenants: Pair, role: str, endpoint: Endpoint, values: dict[str, str]
) -> list[int]:
    """The status with each body for alfa's things in the path.

    The answer must be as for things that nobody has.
    """
    alfa, bravo = tenants
    absent = {name: unknown(value) for name, value in values.items()}
    rest, found = bravo.values(endpoint), []
    sent = [list(bodies(endpoint, bravo, one.get("key", ""))) for one in (values, absent)]
    for body, other in zip(*sent, strict=True):
        one = call(site, bravo, role, endpoint, endpoint.at(rest | values), **body)
        two = call(site, bravo, role, endpoint, endpoint.at(rest | absent), **other)
        about = (str(endpoint), role, values, body, one.text, two.text)
        assert plain(one, values) == plain(two, absent), about
        assert learnt(alfa, one, values) == [], about
        found.append(one.status_code)
    return found


def foreign(
    endpoint: Endpoint, alfa: Tenant, bravo: Tenant
) -> Iterator[tuple[dict[str, str], tuple[str, ...]]]:
    """Alfa's values for the arguments that are a project's, and the roles that ask with them.

    For all of the arguments, for the last only, and with names where there should be ids.
    """
    owned = alfa.owned(endpoint)
    if not owned or endpoint.is_public:
        return
    values = {name: alfa.values(endpoint)[name] for name in owned}
    yield values, STRANGERS
    if len(owned) > 1 and owned[-1] not in WORDS:
        yield {owned[-1]: values[owned[-1]]}, STRANGERS
    if named := {name: alfa.things[NAMES[name]] for name in owned if name in NAMES}:
        yield values | named, ("manager",)


def test_another_projects_things_in_a_body_are_as_if_they_did_not_exist(
    site: Site, tenants: Pair
) -> None:
    alfa, bravo = tenants
    alfa.things["zone and host"] = f"nova:{alfa.things['host']}"
    before, refused = rows_about(alfa, dump()), set()
    for endpoint in endpoints(site.app):
        if endpoint.schema is None or endpoint.is_public:
            continue
        path, kind = endpoint.at(bravo.values(endpoint)), {"content_type": endpoint.media_type}
        for body in examples(endpoint.schema, words(bravo)):
            good = call(site, bravo, "member", endpoint, path, json=body, **kind)
            for at, thing, role in references(body):
                value = alfa.things[thing]
                absent = alike(thing, value)
                one, two = (
                    call(site, bravo, role, endpoint, path, json=sent, **kind)
                    for sent in (changed(body, at, value), changed(body, at, absent))
                )
                about = (str(endpoint), at, body, one.text, two.text)
                assert 400 <= one.status_code < 500, about
                assert plain(one, {"x": value}) == plain(two, {"x": absent}), about
                assert learnt(alfa, one, {"x": value}) == [], about
                if good.status_code < 300:
                    refused.add((str(endpoint), at))
    create = "POST /compute/v2.1/servers"
    for field in ("imageRef", "key_name", "flavorRef"):
        assert (create, ("server", field)) in refused
    assert (create, ("server", "networks", 0, "uuid")) in refused
    assert rows_about(alfa, dump()) == before


def alike(thing: str, value: str) -> str:
    """What exists nowhere, in the form of this thing."""
    if thing == "address":
        return "10.99.0.9"
    zone, colon, host = value.rpartition(":") if thing == "zone and host" else ("", "", value)
    return zone + colon + unknown(host)


def references(body: Any) -> Iterator[tuple[tuple[Any, ...], str, str]]:
    """Where a body names something, what of alfa's could stand there, and the role that asks."""
    for at in places(body):
        thing = REFERENCES.get(at[-1]) if at and isinstance(at[-1], str) else None
        if len(at) > 1 and at[-2] == "security_groups" and isinstance(at[-1], int):
            value: Any = body
            for step in at:
                value = value[step]
            thing = "security_group_id" if isinstance(value, str) else None
        if at and at[-1] == "uuid":
            thing = "network_id" if "networks" in at else "image_id"
        if thing:
            yield at, thing, "member"
            yield at, NAMES.get(thing, thing), "manager"


def test_lists_tell_nothing_of_another_project_whatever_is_asked(site: Site, tenants: Pair) -> None:
    alfa, bravo = tenants
    alfa.things["address filter"] = f"ip_address={alfa.things['address']}"
    asked = 0
    for endpoint in endpoints(site.app):
        if endpoint.method != "GET" or alfa.owned(endpoint) or endpoint.is_public:
            continue
        path = endpoint.at(bravo.values(endpoint))
        for role in STRANGERS:
            answer = call(site, bravo, role, endpoint, path)
            assert learnt(alfa, answer, {}) == [], (str(endpoint), role, answer.text)
        for name, things in FILTERS.items():
            for value in (alfa.things[thing] for thing in things):
                absent = unknown(value)
                absent = absent if "address" not in things[0] else value.replace(".0.5", ".0.6")
                one, two = (
                    call(site, bravo, "member", endpoint, path, query_string={name: text})
                    for text in (value, absent)
                )
                about = (str(endpoint), name, one.text, two.text)
                assert one.status_code < 500, about
                assert plain(one, {"x": value}) == plain(two, {"x": absent}), about
                assert learnt(alfa, one, {"x": value}) == [], about
                asked += 2
    assert asked > 1000
    for query in ("all_tenants=1", "all_projects=1", "deleted=True", "is_public=None"):
        for path in (
            "servers",
            "servers/detail",
            "flavors/detail",
            "os-keypairs",
            "os-server-groups",
        ):
            answer = site.get(f"/compute/v2.1/{path}?{query}", "bravo-member")
            assert learnt(alfa, answer, {}) == [], (path, query)


OF_ONES_OWN = {
    "DELETE /identity/v3/auth/tokens": "one may give back one's own token",
    "POST /identity/v3/users/<user_id>/password": "and change one's own password",
    "POST /compute/v2.1/os-keypairs": "keys are a user's, not a project's, as in Nova",
    "DELETE /compute/v2.1/os-keypairs/<name>": "likewise",
    "POST /identity/v3/users/<user_id>/application_credentials": "likewise",
    "DELETE /identity/v3/users/<user_id>/application_credentials/<credential_id>": "likewise",
    "POST /compute/v2.1/os-server-external-events": "services tell of every project's servers",
}


@pytest.mark.parametrize("role", ["reader", "service", "none"])
def test_who_may_only_read_changes_nothing_of_the_own_project_either(
    site: Site, tenants: Pair, role: str
) -> None:
    _, bravo = tenants
    before, asked = dump(), 0
    for endpoint in endpoints(site.app):
        if not endpoint.writes or endpoint.is_public or str(endpoint) in OF_ONES_OWN:
            continue
        values = bravo.values(endpoint)
        path = endpoint.at(values)
        sent = list(bodies(endpoint, bravo, values.get("key", "")))
        answers = [call(site, bravo, role, endpoint, path, **body) for body in sent]
        statuses = {answer.status_code for answer in answers}
        about = (str(endpoint), sent, [answer.text for answer in answers])
        assert 403 in statuses, about
        assert statuses <= {400, 403}, about
        asked += 1
    assert asked > 30
    assert dump() == before


def bad_tokens(site: Site, tenant: Tenant) -> dict[str, str]:
    """Tokens that were never good, or are no longer."""
    web = site.app.extensions["novella"]
    good = web.tokens.read(tenant.tokens["member"])
    old = dataclasses.replace(good, issued_at=time.time() - 7200, expires_at=time.time() - 3600)
    stranger = Tokens(KeyRing(site.directory / "other-keys"), Revocations(list))
    head, _, tail = tenant.tokens["member"].rpartition(".")
    again = site.log_in("bravo-member", PASSWORD, "bravo")
    revoked = again.headers["X-Subject-Token"]
    given = {"X-Auth-Token": revoked, "X-Subject-Token": revoked}
    assert site.client.delete("/identity/v3/auth/tokens", headers=given).status_code == 204
    return {
        "none": "",
        "nonsense": "x" * 40,
        "expired": web.tokens.issue(old),
        "revoked": revoked,
        "signed by another": stranger.issue(good),
        "changed": f"{head[:-2]}{'B' if head[-2] == 'A' else 'A'}{head[-1]}.{tail}",
        "unsigned": head,
    }


def test_a_bad_token_is_401_on_every_route(site: Site, tenants: Pair) -> None:
    _, bravo = tenants
    asked, before = 0, dump()
    for kind, token in bad_tokens(site, bravo).items():
        for endpoint in endpoints(site.app):
            if endpoint.is_public:
                continue
            path = endpoint.at(bravo.values(endpoint))
            answer = site.client.open(path, method=endpoint.method, headers={"X-Auth-Token": token})
            assert answer.status_code == 401, (kind, str(endpoint), answer.text)
            assert "WWW-Authenticate" in answer.headers
            asked += 1
    assert asked > 500
    after = dump()
    before["revocations"] = after["revocations"]
    assert after == before


def test_a_wrong_password_is_401_and_says_the_same_for_users_that_do_not_exist(
    site: Site, tenants: Pair
) -> None:
    one = site.log_in("alfa-member", "wrong", "alfa")
    two = site.log_in("zulu-member", "wrong", "alfa")
    three = site.log_in("alfa-member", PASSWORD, "bravo")
    assert [answer.status_code for answer in (one, two, three)] == [401] * 3
    assert one.json == two.json == three.json


def test_anothers_token_cannot_be_looked_into_or_revoked(site: Site, tenants: Pair) -> None:
    alfa, bravo = tenants
    for method in ("GET", "HEAD", "DELETE"):
        for role in ("manager", "member", "reader", "none"):
            headers = {
                "X-Auth-Token": bravo.tokens[role],
                "X-Subject-Token": alfa.tokens["member"],
            }
            answer = site.client.open("/identity/v3/auth/tokens", method=method, headers=headers)
            assert answer.status_code in (403, 404), (method, role, answer.text)
            assert learnt(alfa, answer, {}) == []
    assert site.get("/compute/v2.1/servers", "alfa-member").status_code == 200
