"""Networks, subnets, ports, quotas and extensions, as stock clients read them."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from app.models import Network
from app.store import database
from tests.filled import statements
from tests.integration.tenants import Tenant, quiet, seeded_database, site, tenants
from tests.integration.web_fixtures import Site

__all__ = ["quiet", "seeded_database", "site", "tenants"]
NETWORK = "/network/v2.0"


@pytest.fixture
def alfa(tenants: tuple[Tenant, Tenant]) -> Tenant:
    """A project with a network, a subnet, and a server with a port on it."""
    return tenants[0]


def listed(site: Site, kind: str, query: dict[str, Any], user: str = "alfa-member") -> list[Any]:
    """The items of a list."""
    answer = site.get(f"{NETWORK}/{kind}", user, query_string=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json[kind.replace("-", "_")])


def ids(site: Site, kind: str, query: dict[str, Any], user: str = "alfa-member") -> list[str]:
    """The ids in a list."""
    return [one["id"] for one in listed(site, kind, query, user)]


def test_things_are_found_by_id_and_by_name_as_clients_look(site: Site, alfa: Tenant) -> None:
    for noun in ("network", "subnet", "port"):
        look(site, alfa, noun)


def look(site: Site, alfa: Tenant, noun: str) -> None:
    """Show by id; by name a 404, and then the list with that name."""
    wanted = alfa.things[f"{noun}_id"]
    name = alfa.things.get(f"{noun} name", "")
    shown = site.get(f"{NETWORK}/{noun}s/{wanted}", "alfa-member").json[noun]
    assert shown["id"] == wanted
    by_name = site.get(f"{NETWORK}/{noun}s/{name or 'no-name'}", "alfa-member")
    kind = f"{noun.capitalize()}NotFound"
    assert (by_name.status_code, by_name.json["NeutronError"]["type"]) == (404, kind)
    assert wanted in ids(site, f"{noun}s", {"name": name})
    assert ids(site, f"{noun}s", {"name": "no-name"}) == []
    assert listed(site, f"{noun}s", {"id": wanted}) == [shown]


FILTERED = [
    ("networks", {"router:external": "False"}, True),
    ("networks", {"router:external": "True"}, False),
    ("networks", {"status": "ACTIVE"}, True),
    ("networks", {"status": "DOWN"}, False),
    ("networks", {"admin_state_up": "True", "shared": "False"}, True),
    ("networks", {"shared": "True"}, False),
    ("networks", {"tags": "blue"}, False),
    ("networks", {"provider:network_type": "vlan"}, False),
    ("networks", {"somebody:extension": "x"}, True),
    ("subnets", {"ip_version": "4"}, True),
    ("subnets", {"ip_version": "6"}, False),
    ("subnets", {"enable_dhcp": "True"}, True),
    ("subnets", {"cidr": "10.65.0.0/24"}, True),
    ("subnets", {"cidr": "10.0.0.0/24"}, False),
    ("subnets", {"gateway_ip": "10.65.0.1"}, True),
    ("ports", {"status": "ACTIVE"}, True),
    ("ports", {"status": "DOWN"}, False),
    ("ports", {"device_owner": "compute:nova"}, True),
    ("ports", {"device_owner": "network:dhcp"}, False),
    ("ports", {"mac_address": "52:54:00:00:00:04"}, True),
    ("ports", {"fixed_ips": "ip_address=10.65.0.5"}, True),
    ("ports", {"fixed_ips": "ip_address=10.65.0.6"}, False),
    ("ports", {"security_groups": str(uuid.uuid4())}, False),
    ("ports", {"binding:host_id": "alfa-host"}, True),
]


def test_lists_are_filtered_by_what_clients_filter_by(site: Site, alfa: Tenant) -> None:
    for kind, query, found in FILTERED:
        wanted = alfa.things[f"{kind[:-1]}_id"]
        assert (wanted in ids(site, kind, query)) is found, (kind, query)


def test_only_administrators_filter_ports_by_host(site: Site, alfa: Tenant) -> None:
    for user in ("alfa-admin", "alfa-member"):
        here = ids(site, "ports", {"binding:host_id": "alfa-host"}, user)
        there = ids(site, "ports", {"binding:host_id": "elsewhere"}, user)
        assert here == [alfa.things["port_id"]]
        assert there == ([] if user == "alfa-admin" else here)


def test_ports_are_found_by_server_and_subnet(site: Site, alfa: Tenant) -> None:
    port, things = alfa.things["port_id"], alfa.things
    for query in (
        {"device_id": things["server_id"]},
        {"network_id": things["network_id"]},
        {"fixed_ips": f"subnet_id={things['subnet_id']}"},
        {"id": [port, str(uuid.uuid4())]},
    ):
        assert ids(site, "ports", query) == [port]


@pytest.fixture
def five(site: Site, alfa: Tenant) -> list[str]:
    """Names of five more networks of the project."""
    names = ["e", "a", "d", "b", "c"]
    with database.transaction() as session:
        session.add_all([Network(project_id=alfa.project_id, name=name) for name in names])
    return names


def test_lists_are_sorted_and_paged_to_the_end(site: Site, alfa: Tenant, five: list[str]) -> None:
    for direction in ("asc", "desc"):
        only = "limit=2&shared=False&router:external=False"
        path = f"{NETWORK}/networks?sort_key=name&sort_dir={direction}&{only}"
        seen: list[str] = []
        while path:
            page = site.get(path, "alfa-member").json
            seen += [one["name"] for one in page["networks"]]
            links = page.get("networks_links", [])
            path = links[0]["href"].removeprefix("http://localhost") if links else ""
        assert seen == sorted([*five, "alfa-network"], reverse=direction == "desc")
    first = listed(site, "networks", {"fields": ["id", "name"], "limit": 1})[0]
    assert set(first) == {"id", "name"}


def test_a_bad_query_is_refused_by_name(site: Site, alfa: Tenant) -> None:
    for query in ("sort_key=colour", "sort_dir=up", "limit=-1", "marker=x", "shared=maybe"):
        answer = site.get(f"{NETWORK}/networks?{query}", "alfa-member")
        assert answer.status_code == 400
        assert query.split("=")[0] in answer.json["NeutronError"]["message"]


def test_each_project_has_the_default_group_with_neutron_s_rules(site: Site, alfa: Tenant) -> None:
    (group,) = listed(site, "security-groups", {"name": "default"})
    assert listed(site, "security-groups", {"name": "other"}) == []
    one = site.get(f"{NETWORK}/security-groups/{group['id']}", "alfa-member")
    assert one.json["security_group"] == group
    rules = listed(site, "security-group-rules", {"security_group_id": group["id"]})
    seen = sorted((r["direction"], r["ethertype"], r["remote_group_id"]) for r in rules if r)
    assert [one[:2] for one in seen] == [
        ("egress", "IPv4"), ("egress", "IPv6"), ("ingress", "IPv4"), ("ingress", "IPv6"),
    ]  # fmt: skip
    assert group["security_group_rules"] == rules
    for rule in rules:
        shown = site.get(f"{NETWORK}/security-group-rules/{rule['id']}", "alfa-member")
        assert shown.json["security_group_rule"] == rule
    assert {remote for direction, _, remote in seen if direction == "ingress"} == {group["id"]}
    assert site.get(f"{NETWORK}/security-groups/{group['id']}", "bravo-member").status_code == 404
    assert group["id"] not in ids(site, "security-groups", {}, "bravo-member")
    (foreign,) = listed(site, "security-groups", {"name": "default"}, "bravo-member")
    assert foreign["id"] != group["id"]
    assert site.get(f"{NETWORK}/security-groups?marker=x", "alfa-member").status_code == 400


def test_agents_are_for_administrators(site: Site, alfa: Tenant) -> None:
    assert site.get(f"{NETWORK}/agents", "alfa-member").status_code == 403
    assert listed(site, "agents", {}, "alfa-admin") == []


def test_quotas_are_read_by_the_own_project_and_administrators(
    site: Site, tenants: tuple[Tenant, Tenant]
) -> None:
    alfa, bravo = tenants
    path = f"{NETWORK}/quotas/{alfa.project_id}"
    for user in ("alfa-reader", "bravo-admin"):
        quota = site.get(path, user).json["quota"]
        assert (quota["port"], quota["router"]) == (500, 10)
        assert site.get(f"{path}/default", user).json["quota"] == quota
        details = site.get(f"{path}/details", user).json["quota"]
        assert details["port"] == {"limit": 500, "used": 1, "reserved": 0}
        assert details["network"]["used"] == 1
    for ending in ("", "/default", "/details"):
        assert site.get(path + ending, "bravo-member").status_code == 404
        nobody = f"{NETWORK}/quotas/{uuid.uuid4().hex}{ending}"
        assert site.get(nobody, "bravo-admin").status_code == 404
    assert site.get(f"{NETWORK}/quotas", "bravo-admin").json == {"quotas": []}
    assert site.call("PUT", path, "alfa-member", json={"quota": {"port": 1}}).status_code == 403
    own = site.call("PUT", path, "bravo-admin", json={"quota": {"port": "1"}})
    assert own.json["quota"]["port"] == 1
    wanted = {"port": {"network_id": alfa.things["network_id"]}}
    full = site.post(f"{NETWORK}/ports", "alfa-member", json=wanted)
    assert (full.status_code, full.json["NeutronError"]["type"]) == (409, "OverQuota")
    (limited,) = site.get(f"{NETWORK}/quotas", "bravo-admin").json["quotas"]
    assert (limited["project_id"], limited["port"]) == (alfa.project_id, 1)
    assert site.delete(path, "bravo-admin").status_code == 204
    assert site.get(path, "alfa-reader").json["quota"]["port"] == 500
    assert site.get(f"{NETWORK}/quotas", "bravo-member").status_code == 403


def test_extensions_are_those_that_hold(site: Site, alfa: Tenant) -> None:
    found = {one["alias"]: one for one in listed(site, "extensions", {})}
    assert {"availability_zone", "quotas", "sorting", "pagination"} <= set(found)
    assert {"security-group", "router", "external-net"} <= set(found)
    assert "trunk" not in found
    one = site.get(f"{NETWORK}/extensions/quotas", "alfa-member").json["extension"]
    assert one == found["quotas"]
    absent = site.get(f"{NETWORK}/extensions/Availability Zone", "alfa-member")
    assert (absent.status_code, absent.json["NeutronError"]["type"]) == (404, "NotFound")
    zones = listed(site, "availability_zones", {})
    assert zones == [{"name": "nova", "resource": "network", "state": "available"}]


def test_the_list_of_quotas_has_pages_and_costs_the_same_however_many(
    site: Site, tenants: tuple[Tenant, Tenant]
) -> None:
    projects = sorted(one.project_id for one in tenants)

    def page(query: str = "") -> Any:
        answer = site.get(f"{NETWORK}/quotas{query}", "bravo-admin")
        assert answer.status_code == 200, answer.text
        return answer.json

    costs = []
    for number, project in enumerate(projects):
        path = f"{NETWORK}/quotas/{project}"
        given = {"quota": {"port": number, "router": 7}}
        assert site.call("PUT", path, "bravo-admin", json=given).status_code == 200
        page()
        # The least: now and then a request reads the revocations besides.
        costs.append(min(len(statements(page)) for _ in range(3)))
    assert costs[0] == costs[1]
    found = [
        (one["project_id"], one["port"], one["router"], one["subnet"]) for one in page()["quotas"]
    ]
    assert found == [(projects[0], 0, 7, 100), (projects[1], 1, 7, 100)]
    first = page("?limit=1")
    assert [one["project_id"] for one in first["quotas"]] == projects[:1]
    assert f"marker={projects[0]}" in first["quotas_links"][0]["href"]
    rest = page(f"?limit=5&marker={projects[0]}")
    assert [one["project_id"] for one in rest["quotas"]] == projects[1:]
    assert "quotas_links" not in rest
