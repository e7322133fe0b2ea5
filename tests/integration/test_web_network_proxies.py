"""Compute's old words for what Network has: security groups, floating addresses, networks."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select
from werkzeug.test import TestResponse

from app.domain.networking import network_of
from app.models import Network, SecurityGroup, new_id
from app.store import database
from tests.integration.tenants import Tenant, quiet, seeded_database, site, tenants
from tests.integration.web_fixtures import Site

__all__ = ["quiet", "seeded_database", "site", "tenants"]
COMPUTE = "/compute/v2.1"
USER = "alfa-member"
MISSING = "00000000-0000-4000-8000-000000000001"


@pytest.fixture
def alfa(tenants: tuple[Tenant, Tenant]) -> Tenant:
    return tenants[0]


def ask(site: Site, method: str, path: str, body: Any = None, **more: Any) -> TestResponse:
    given = {"version": "2.1", **more} | ({} if body is None else {"json": body})
    return site.call(method, f"{COMPUTE}/{path}", given.pop("user", USER), **given)


def test_security_groups_and_their_rules_as_nova_had_them(site: Site, alfa: Tenant) -> None:
    group = {"security_group": {"name": "web", "description": "d"}}
    made = ask(site, "POST", "os-security-groups", group)
    assert made.status_code == 200
    shown = made.json["security_group"]
    assert set(shown) == {"id", "name", "description", "tenant_id", "rules"}
    assert shown["rules"] == []
    rule = {
        "parent_group_id": shown["id"], "ip_protocol": "tcp", "from_port": "22", "to_port": 22,
        "cidr": "10.0.0.0/8",
    }  # fmt: skip
    added = ask(site, "POST", "os-security-group-rules", {"security_group_rule": rule})
    assert added.status_code == 200
    assert added.json["security_group_rule"] == {
        "id": added.json["security_group_rule"]["id"], "parent_group_id": shown["id"],
        "ip_protocol": "tcp", "from_port": 22, "to_port": 22, "ip_range": {"cidr": "10.0.0.0/8"},
        "group": {},
    }  # fmt: skip
    again = ask(site, "POST", "os-security-group-rules", {"security_group_rule": rule})
    assert again.status_code == 400
    for change, status in (
        ({"parent_group_id": MISSING}, 404), ({"ip_protocol": "spam"}, 400),
        ({"from_port": "x"}, 400), ({"from_port": 23}, 400), ({"parent_group_id": "7"}, 400),
    ):  # fmt: skip
        bad = ask(site, "POST", "os-security-group-rules", {"security_group_rule": rule | change})
        assert bad.status_code == status, (change, bad.text)
    peer = {**rule, "group_id": alfa.things["security_group_id"]}
    named = ask(site, "POST", "os-security-group-rules", {"security_group_rule": peer}).json
    assert named["security_group_rule"]["group"]["name"] == "alfa-group"
    changed = {"security_group": {"name": "other", "description": "e"}}
    put = ask(site, "PUT", f"os-security-groups/{shown['id']}", changed)
    assert (put.status_code, put.json["security_group"]["name"]) == (200, "other")
    listed = ask(site, "GET", "os-security-groups").json["security_groups"]
    assert {"default", "other", "alfa-group"} == {one["name"] for one in listed}
    (default,) = [one for one in listed if one["name"] == "default"]
    assert ask(site, "DELETE", f"os-security-groups/{default['id']}").status_code == 400
    first = added.json["security_group_rule"]["id"]
    assert ask(site, "DELETE", f"os-security-group-rules/{first}").status_code == 202
    assert ask(site, "DELETE", f"os-security-group-rules/{first}").status_code == 404
    assert ask(site, "DELETE", f"os-security-groups/{shown['id']}").status_code == 202
    assert ask(site, "GET", f"os-security-groups/{shown['id']}").status_code == 404
    for name in ("", "  ", "x" * 256):
        bad = ask(
            site,
            "POST",
            "os-security-groups",
            {"security_group": {"name": name, "description": "d"}},
        )
        assert bad.status_code == 400


def test_a_server_joins_and_leaves_groups_by_name_or_id(site: Site, alfa: Tenant) -> None:
    server = f"servers/{alfa.things['server_id']}"
    for name in ("alfa-group", alfa.things["security_group_id"]):
        for action, present in (("addSecurityGroup", True), ("removeSecurityGroup", False)):
            assert (
                ask(site, "POST", f"{server}/action", {action: {"name": name}}).status_code == 202
            )
            groups = ask(site, "GET", f"{server}/os-security-groups").json["security_groups"]
            assert ("alfa-group" in {one["name"] for one in groups}) is present
            shown = ask(site, "GET", server).json["server"].get("security_groups", [])
            assert ({"name": "alfa-group"} in shown) is present
    for action in ("addSecurityGroup", "removeSecurityGroup"):
        assert ask(site, "POST", f"{server}/action", {action: {"name": "no"}}).status_code == 404
    absent = ask(site, "POST", f"{server}/action", {"removeSecurityGroup": {"name": "alfa-group"}})
    assert absent.status_code == 404


def test_security_groups_beyond_a_thousand_are_listed_from_an_offset(
    site: Site, alfa: Tenant
) -> None:
    with database.transaction() as session:
        session.add_all(
            SecurityGroup(id=new_id(), project_id=alfa.project_id, name=f"zz{number:04}")
            for number in range(1001)
        )
    path = "os-security-groups?offset=1001&limit=1000"
    names = [one["name"] for one in ask(site, "GET", path).json["security_groups"]]
    assert names[-1] == "zz1000"
    assert len(names) == len(set(names)) == 2  # the tenant has a group and its default besides


def test_floating_addresses_as_nova_had_them(site: Site, alfa: Tenant) -> None:
    with database.transaction() as session:  # as the default network, which hosts lead out
        session.get_one(Network, alfa.things["network_id"]).network_type = "nat"
    assert {"name": "outside"} in ask(site, "GET", "os-floating-ip-pools").json["floating_ip_pools"]
    made = ask(site, "POST", "os-floating-ips", {"pool": "outside"})
    assert made.status_code == 200
    first = made.json["floating_ip"]
    assert set(first) == {"id", "ip", "pool", "instance_id", "fixed_ip"}
    assert ask(site, "POST", "os-floating-ips", {"pool": "none"}).status_code == 404
    second = ask(site, "POST", "os-floating-ips").json["floating_ip"]
    server, actions = alfa.things["server_id"], f"servers/{alfa.things['server_id']}/action"
    add = {"addFloatingIp": {"address": first["ip"]}}
    assert ask(site, "POST", actions, add).status_code == 202
    shown = ask(site, "GET", f"os-floating-ips/{first['id']}").json["floating_ip"]
    assert (shown["instance_id"], shown["fixed_ip"]) == (server, alfa.things["address"])
    found = ask(site, "GET", f"servers/{server}").json["server"]["addresses"]["alfa-network"]
    assert [(one["addr"], one["OS-EXT-IPS:type"]) for one in found] == [
        (alfa.things["address"], "fixed"), (first["ip"], "floating"),
    ]  # fmt: skip
    other = {"addFloatingIp": {"address": second["ip"]}}
    assert ask(site, "POST", actions, other).status_code == 400
    for address, status in ((second["ip"], 409), ("192.0.2.250", 404)):
        away = {"removeFloatingIp": {"address": address}}
        assert ask(site, "POST", actions, away).status_code == status
    away = {"removeFloatingIp": {"address": first["ip"]}}
    assert ask(site, "POST", actions, away).status_code == 202
    assert ask(site, "POST", actions, away, version="2.44").status_code == 404
    for one in (first, second):
        assert ask(site, "DELETE", f"os-floating-ips/{one['id']}").status_code == 202
    assert ask(site, "GET", f"os-floating-ips/{first['id']}").status_code == 404


def test_networks_as_nova_had_them_until_2_35(site: Site, alfa: Tenant) -> None:
    network = alfa.things["network_id"]
    for path in ("os-networks", "os-tenant-networks"):
        listed = ask(site, "GET", path).json["networks"]
        assert network in {one["id"] for one in listed}
        one = ask(site, "GET", f"{path}/{network}").json["network"]
        assert (one["label"], one in listed) == ("alfa-network", True)
        assert ask(site, "GET", f"{path}/{MISSING}").status_code == 404
        assert ask(site, "GET", path, version="2.36").status_code == 404
    seen = ask(site, "GET", f"os-networks/{network}", user="alfa-admin").json["network"]
    assert "bridge" in seen
    for path in ("os-security-groups", "os-floating-ips", "os-floating-ip-pools"):
        assert ask(site, "GET", path, version="2.36").status_code == 404
    with database.reading() as session:
        external = session.scalars(select(Network.id).where(Network.external)).one()
    assert external in {one["id"] for one in ask(site, "GET", "os-networks").json["networks"]}


def test_names_and_prefixes_are_kept_as_they_were_written(site: Site, alfa: Tenant) -> None:
    group = {"security_group": {"name": " web  one ", "description": "d"}}
    made = ask(site, "POST", "os-security-groups", group).json["security_group"]
    assert made["name"] == " web  one "
    rule = {
        "parent_group_id": made["id"], "ip_protocol": "tcp", "from_port": 22, "to_port": 22,
        "cidr": "10.2.3.124/24",
    }  # fmt: skip
    body = {"security_group_rule": rule}
    added = ask(site, "POST", "os-security-group-rules", body).json["security_group_rule"]
    assert added["ip_range"] == {"cidr": "10.2.3.124/24"}
    shown = site.get(f"/network/v2.0/security-group-rules/{added['id']}", USER).json
    assert shown["security_group_rule"]["remote_ip_prefix"] == "10.2.3.124/24"
    assert shown["security_group_rule"]["normalized_cidr"] == "10.2.3.0/24"
    assert network_of("10.2.3.124/24") == "10.2.3.0/24"  # which hosts are told
