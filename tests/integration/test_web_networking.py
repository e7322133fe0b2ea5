"""Networks, subnets, ports, routers and floating addresses of one's own, over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, select
from werkzeug.test import TestResponse

from app.models import HostNetworking, Network, Port, Server
from app.store import addresses, database, host_networking, plans
from tests.integration.tenants import Tenant, quiet, seeded_database, site, tenants
from tests.integration.web_fixtures import Site

__all__ = ["quiet", "seeded_database", "site", "tenants"]
NETWORK, COMPUTE = "/network/v2.0", "/compute/v2.1"
USER, OTHER, ADMIN = "alfa-member", "bravo-member", "alfa-admin"
MISSING = "00000000-0000-4000-8000-000000000001"
PATHS = {
    "network": "networks", "subnet": "subnets", "port": "ports", "router": "routers",
    "security_group": "security-groups", "security_group_rule": "security-group-rules",
    "floatingip": "floatingips",
}  # fmt: skip


class Api:
    """Requests of one user, by noun."""

    def __init__(self, site: Site, user: str = USER) -> None:
        self.site, self.user = site, user

    def post(self, noun: str, **body: Any) -> TestResponse:
        return self.site.post(f"{NETWORK}/{PATHS[noun]}", self.user, json={noun: body})

    def make(self, noun: str, **body: Any) -> dict[str, Any]:
        answer = self.post(noun, **body)
        assert answer.status_code == 201, answer.text
        return dict(answer.json[noun])

    def put(self, noun: str, id_: str, **body: Any) -> TestResponse:
        path = f"{NETWORK}/{PATHS[noun]}/{id_}"
        return self.site.call("PUT", path, self.user, json={noun: body})

    def get(self, noun: str, id_: str) -> TestResponse:
        return self.site.get(f"{NETWORK}/{PATHS[noun]}/{id_}", self.user)

    def delete(self, noun: str, id_: str) -> TestResponse:
        return self.site.delete(f"{NETWORK}/{PATHS[noun]}/{id_}", self.user)

    def list(self, noun: str, **query: Any) -> list[dict[str, Any]]:
        kind = PATHS[noun]
        answer = self.site.get(f"{NETWORK}/{kind}", self.user, query_string=query)
        return list(answer.json[kind.replace("-", "_")])


@pytest.fixture
def api(site: Site, tenants: tuple[Tenant, Tenant]) -> Api:
    return Api(site)


def refused(answer: TestResponse, status: int, kind: str, words: str = "") -> None:
    """The answer is this error of Neutron's."""
    error = answer.json["NeutronError"]
    assert (answer.status_code, error["type"]) == (status, kind), answer.text
    assert words in error["message"]


def subnet_of(api: Api, net: str = "10.90.0.0/24", **more: Any) -> tuple[str, dict[str, Any]]:
    """A new network's id, and its subnet."""
    network = api.make("network", name="own", **more.pop("network", {}))
    return network["id"], api.make("subnet", network_id=network["id"], cidr=net, **more)


def test_networks_and_subnets_are_made_changed_and_removed_as_neutron_does(api: Api) -> None:
    network, subnet = subnet_of(api, name="inner", dns_nameservers=["9.9.9.9"])
    assert subnet["gateway_ip"] == "10.90.0.1"
    assert subnet["allocation_pools"] == [{"start": "10.90.0.2", "end": "10.90.0.254"}]
    shown = api.get("network", network).json["network"]
    assert (shown["subnets"], shown["shared"], shown["status"]) == ([subnet["id"]], False, "ACTIVE")
    assert "provider:network_type" not in shown
    renamed = api.put("network", network, name="other", admin_state_up="False").json["network"]
    assert (renamed["name"], renamed["status"]) == ("other", "DOWN")
    changes = {
        "allocation_pools": [
            {"start": "10.90.0.10", "end": "10.90.0.11"},
            {"start": "10.90.0.20", "end": "10.90.0.20"},
        ],
        "enable_dhcp": False,
        "host_routes": [{"destination": "10.1.0.0/16", "nexthop": "10.90.0.9"}],
    }  # fmt: skip
    changed = api.put("subnet", subnet["id"], **changes).json["subnet"]
    assert {name: changed[name] for name in changes} == changes
    made = [api.make("port", network_id=network) for _ in range(3)]
    assert {port["fixed_ips"][0]["ip_address"] for port in made} == {
        "10.90.0.10", "10.90.0.11", "10.90.0.20",
    }  # fmt: skip
    refused(api.post("port", network_id=network), 409, "IpAddressGenerationFailure")
    refused(api.delete("subnet", subnet["id"]), 409, "SubnetInUse")
    refused(api.delete("network", network), 409, "NetworkInUse")
    for port in made:
        assert api.delete("port", port["id"]).status_code == 204
    assert api.delete("subnet", subnet["id"]).status_code == 204
    assert api.delete("network", network).status_code == 204
    refused(api.get("network", network), 404, "NetworkNotFound")


BAD_SUBNETS = [
    ({"cidr": "10.90.0.0/33"}, "subnet.cidr"),
    ({"cidr": "fd00::/64"}, "subnet.cidr"),
    ({"cidr": "10.90.0.0/30"}, "/29"),
    ({"cidr": "127.0.0.0/24"}, "subnet.cidr"),
    ({"cidr": "10.90.0.0/24", "ip_version": 6}, "ip_version"),
    ({"cidr": "10.90.0.0/24", "gateway_ip": "10.91.0.1"}, "gateway_ip"),
    ({"cidr": "10.90.0.0/24", "allocation_pools": [{"start": "10.90.0.1", "end": "10.90.0.5"}]},
     "conflicts"),
    ({"cidr": "10.90.0.0/24", "allocation_pools": [{"start": "10.90.0.9", "end": "10.90.0.5"}]},
     "not valid"),
    ({"cidr": "10.90.0.0/24", "colour": "blue"}, "colour"),
    ({"cidr": "10.77.0.128/25"}, "overlaps with another subnet"),
]  # fmt: skip


def test_bad_subnets_are_400_and_name_the_field(api: Api) -> None:
    network = api.make("network", name="own")["id"]
    for body, words in BAD_SUBNETS:
        answer = api.post("subnet", network_id=network, **body)
        assert answer.status_code == 400, (body, answer.text)
        assert words in answer.json["NeutronError"]["message"], body
    refused(api.post("subnet", network_id=MISSING, cidr="10.90.0.0/24"), 404, "NetworkNotFound")


def test_what_is_the_cloud_s_is_for_administrators(
    api: Api, site: Site, tenants: tuple[Tenant, Tenant]
) -> None:
    for body in ({"shared": True}, {"router:external": True}, {"provider:network_type": "nat"}):
        refused(api.post("network", name="x", **body), 403, "PolicyNotAuthorized")
    admin = Api(site, ADMIN)
    shared = admin.make("network", name="all", shared=True, **{
        "provider:network_type": "vlan", "provider:segmentation_id": 7,
        "provider:physical_network": "p1"})  # fmt: skip
    assert shared["provider:segmentation_id"] == 7
    admin.make("subnet", network_id=shared["id"], cidr="10.92.0.0/24")
    stranger = Api(site, OTHER)
    assert shared["id"] in {one["id"] for one in stranger.list("network")}
    port = stranger.make("port", network_id=shared["id"])
    assert port["project_id"] == tenants[1].project_id
    refused(stranger.put("network", shared["id"], name="mine"), 403, "PolicyNotAuthorized")
    refused(
        stranger.post("port", network_id=shared["id"], mac_address="fa:16:3e:00:00:09"),
        403, "PolicyNotAuthorized", "mac_address",
    )  # fmt: skip
    refused(
        stranger.put("port", port["id"], allowed_address_pairs=[{"ip_address": "10.92.0.0/24"}]),
        403, "PolicyNotAuthorized",
    )  # fmt: skip
    refused(admin.put("network", shared["id"], shared=False), 409, "InvalidSharedSetting")
    assert stranger.delete("port", port["id"]).status_code == 204
    assert admin.put("network", shared["id"], shared=False).status_code == 200


def test_ports_have_the_address_mac_and_groups_of_choice(api: Api) -> None:
    network, subnet = subnet_of(api)
    mac = "fa:16:3e:aa:bb:cc"
    port = api.make(
        "port", network_id=network, name="p", mac_address=mac.upper(),
        fixed_ips=[{"ip_address": "10.90.0.44", "subnet_id": subnet["id"]}],
        allowed_address_pairs=[{"ip_address": "10.90.0.200"}], device_owner="mine",
    )  # fmt: skip
    assert (port["mac_address"], port["status"], port["device_owner"]) == (mac, "DOWN", "mine")
    assert port["fixed_ips"] == [{"subnet_id": subnet["id"], "ip_address": "10.90.0.44"}]
    assert port["allowed_address_pairs"] == [{"ip_address": "10.90.0.200", "mac_address": mac}]
    (default,) = api.list("security_group", name="default")
    assert port["security_groups"] == [default["id"]]
    assert api.list("port", security_groups=default["id"], fields="id")
    again = {"network_id": network}
    refused(api.post("port", **again, mac_address=mac), 409, "MacAddressInUse")
    taken = [{"ip_address": "10.90.0.44"}]
    refused(api.post("port", **again, fixed_ips=taken), 409, "IpAddressAlreadyAllocated")
    outside = [{"ip_address": "10.91.0.44"}]
    refused(api.post("port", **again, fixed_ips=outside), 400, "InvalidIpForNetwork")
    refused(api.post("port", **again, security_groups=[MISSING]), 404, "SecurityGroupNotFound")
    group = api.make("security_group", name="g")["id"]
    changed = api.put("port", port["id"], security_groups=[group], name="q").json["port"]
    assert (changed["security_groups"], changed["name"]) == ([group], "q")
    refused(api.delete("security_group", group), 409, "SecurityGroupInUse")
    off = api.put("port", port["id"], port_security_enabled=False)
    refused(off, 409, "PortSecurityPortHasSecurityGroup")
    open_ = api.put(
        "port", port["id"], port_security_enabled=False, security_groups=[],
        allowed_address_pairs=[], fixed_ips=[{"ip_address": "10.90.0.45"}],
    ).json["port"]  # fmt: skip
    assert open_["security_groups"] == []
    assert open_["fixed_ips"][0]["ip_address"] == "10.90.0.45"
    bare = api.make("port", network_id=network, fixed_ips=[], security_groups=[])
    assert (bare["fixed_ips"], bare["security_groups"]) == ([], [])


def test_rules_of_groups_are_made_once_and_checked(api: Api) -> None:
    group = api.make("security_group", name="web", description="d")
    assert [rule["direction"] for rule in group["security_group_rules"]] == ["egress", "egress"]
    base = {"security_group_id": group["id"], "direction": "ingress"}
    web = {**base, "protocol": "6", "port_range_min": 80, "port_range_max": "443"}
    rule = api.make("security_group_rule", **web, remote_ip_prefix="10.0.0.7/8")
    assert (rule["protocol"], rule["port_range_max"]) == ("tcp", 443)
    assert (rule["remote_ip_prefix"], rule["normalized_cidr"]) == ("10.0.0.7/8", "10.0.0.0/8")
    twin = api.post("security_group_rule", **web, remote_ip_prefix="10.0.0.0/8")
    refused(twin, 409, "SecurityGroupRuleExists", rule["id"])
    for body, kind in (
        ({"protocol": "spam"}, "SecurityGroupRuleInvalidProtocol"),
        ({"protocol": "tcp", "port_range_min": 9, "port_range_max": 8},
         "SecurityGroupInvalidPortRange"),
        ({"port_range_min": 9, "port_range_max": 9}, "SecurityGroupProtocolRequiredWithPorts"),
        ({"remote_ip_prefix": "fd00::/8"}, "SecurityGroupRuleParameterConflict"),
        ({"remote_ip_prefix": "10.0.0.0/8", "remote_group_id": group["id"]},
         "SecurityGroupMultipleRemoteEntites"),
    ):  # fmt: skip
        refused(api.post("security_group_rule", **base, **body), 400, kind)
    peer = api.make("security_group", name="peer")["id"]
    api.make("security_group_rule", **base, remote_group_id=peer)
    assert api.delete("security_group", peer).status_code == 204  # and the rules that name it
    left = api.get("security_group", group["id"]).json["security_group"]["security_group_rules"]
    assert [one["id"] for one in left if one["direction"] == "ingress"] == [rule["id"]]
    assert api.delete("security_group_rule", rule["id"]).status_code == 204
    refused(api.delete("security_group_rule", rule["id"]), 404, "SecurityGroupRuleNotFound")
    (default,) = api.list("security_group", name="default")
    refused(api.delete("security_group", default["id"]), 409, "SecurityGroupCannotRemoveDefault")
    refused(
        api.put("security_group", default["id"], name="x"), 409, "SecurityGroupCannotUpdateDefault"
    )
    refused(api.post("security_group", name="default"), 409, "SecurityGroupDefaultAlreadyExists")


def outside(site: Site) -> str:
    """The operator's external network."""
    with database.reading() as session:
        return session.scalars(select(Network.id).where(Network.external)).one()


def test_a_router_leads_subnets_out_and_floating_addresses_in(api: Api, site: Site) -> None:
    network, subnet = subnet_of(api)
    external = outside(site)
    router = api.make("router", name="r", external_gateway_info={"network_id": external})
    (fixed,) = router["external_gateway_info"]["external_fixed_ips"]
    assert fixed["ip_address"].startswith("198.51.100.")
    path = f"{NETWORK}/routers/{router['id']}"
    port = api.make("port", network_id=network)
    floating = api.make("floatingip", floating_network_id=external)
    assert (floating["status"], floating["port_id"]) == ("DOWN", None)
    unreachable = api.put("floatingip", floating["id"], port_id=port["id"])
    refused(unreachable, 404, "ExternalGatewayForFloatingIPNotFound")

    led = site.call("PUT", f"{path}/add_router_interface", USER, json={"subnet_id": subnet["id"]})
    assert (led.status_code, led.json["subnet_id"]) == (200, subnet["id"])
    interface = api.get("port", led.json["port_id"]).json["port"]
    assert (interface["device_id"], interface["device_owner"]) == (
        router["id"], "network:router_interface",
    )  # fmt: skip
    assert interface["fixed_ips"][0]["ip_address"] == subnet["gateway_ip"]
    refused(api.delete("port", interface["id"]), 409, "ServicePortInUse")
    refused(api.delete("router", router["id"]), 409, "RouterInUse")

    given = api.put("floatingip", floating["id"], port_id=port["id"]).json["floatingip"]
    assert (given["status"], given["router_id"]) == ("ACTIVE", router["id"])
    assert given["fixed_ip_address"] == port["fixed_ips"][0]["ip_address"]
    second = api.make("floatingip", floating_network_id=external)
    twice = api.put("floatingip", second["id"], port_id=port["id"])
    refused(twice, 409, "FloatingIPPortAlreadyAssociated")
    away = {"subnet_id": subnet["id"]}
    removal = f"{path}/remove_router_interface"
    used = site.call("PUT", removal, USER, json=away)
    refused(used, 409, "RouterInterfaceInUseByFloatingIP")
    no_gateway = api.put("router", router["id"], external_gateway_info={"network_id": external})
    assert no_gateway.status_code == 200
    refused(
        api.put("router", router["id"], external_gateway_info=None),
        409, "RouterExternalGatewayInUseByFloatingIp",
    )  # fmt: skip

    assert api.delete("port", port["id"]).status_code == 204
    assert api.get("floatingip", floating["id"]).json["floatingip"]["port_id"] is None
    assert site.call("PUT", removal, USER, json=away).status_code == 200
    refused(site.call("PUT", removal, USER, json=away), 404, "RouterInterfaceNotFound")
    for one in (floating, second):
        assert api.delete("floatingip", one["id"]).status_code == 204
    assert api.delete("router", router["id"]).status_code == 204
    with database.reading() as session:  # no port of the router's or the addresses' is left
        served = select(Port.id).where(Port.device_id.in_([router["id"], floating["id"]]))
        assert session.scalars(served).all() == []


def create(site: Site, tenant: Tenant, version: str = "2.90", **more: Any) -> TestResponse:
    body = {"name": "vm", "flavorRef": tenant.things["flavor_id"]} | more
    body.setdefault("imageRef", tenant.things["image_id"])
    return site.post(f"{COMPUTE}/servers", USER, json={"server": body}, version=version)


@pytest.fixture
def alfa(tenants: tuple[Tenant, Tenant]) -> Tenant:
    return tenants[0]


def placed(server_id: str, host: str) -> None:
    """What a claim does: the host, and the ports."""
    with database.transaction() as session:
        server = session.get_one(Server, server_id)
        server.host = host
        assert not addresses.allocate(session, [server])


def test_a_server_brings_ports_and_gets_others_in_the_groups_of_choice(
    api: Api, site: Site, alfa: Tenant
) -> None:
    network, _ = subnet_of(api)
    group = api.make("security_group", name="web")["id"]
    port = api.make("port", network_id=network, name="brought", security_groups=[group])
    nics = [
        {"port": port["id"], "tag": "front"}, {"uuid": network, "fixed_ip": "10.90.0.99"},
        {"uuid": network},
    ]  # fmt: skip
    for wanted, words in (
        ([{"uuid": network, "fixed_ip": "10.90.0.1"}], "already in use"),
        ([{"uuid": network, "fixed_ip": "10.1.0.1"}], "not in a subnet"),
        ([{"uuid": outside(site)}], "external network"),
        ([{"uuid": api.make("network", name="bare")["id"]}], "requires a subnet"),
        ([{"port": MISSING}], "could not be found"),
        ([{"port": port["id"]}, {"port": port["id"]}], "twice"),
    ):
        answer = create(site, alfa, networks=wanted)
        assert (answer.status_code, words in answer.text) == (400, True), answer.text
    made = create(site, alfa, networks=nics, security_groups=[{"name": "web"}])
    assert made.status_code == 202, made.text
    server = made.json["server"]["id"]
    assert made.json["server"]["security_groups"] == [{"name": "web"}]
    taken = create(site, alfa, networks=[{"port": port["id"]}])
    assert (taken.status_code, "still in use" in taken.text) == (409, True)
    refused(api.delete("port", port["id"]), 409, "PortInUse")
    refused(api.put("port", port["id"], fixed_ips=[]), 409, "PortInUse")

    placed(server, alfa.things["host"])
    shown = site.get(f"{COMPUTE}/servers/{server}", USER, version="2.90").json["server"]
    found = [one["addr"] for one in shown["addresses"]["own"]]
    assert found[:2] == [port["fixed_ips"][0]["ip_address"], "10.90.0.99"]
    assert len(found) == 3
    assert shown["security_groups"] == [{"name": "web"}]
    with database.reading() as session:
        plan = plans.build_plan(session, session.get_one(Server, server))
    assert [nic.tag for nic in plan.nics] == ["front", None, None]
    assert {nic.nat for nic in plan.nics} == {False}
    assert plan.networking is not None
    assert [one.groups for one in plan.networking.ports] == [(group,)] * 3
    owned = api.list("port", device_id=server)
    assert len(owned) == 3
    assert {one["device_owner"] for one in owned} == {"compute:nova"}

    with database.transaction() as session:
        addresses.let_go(session, server)
    left = api.get("port", port["id"]).json["port"]
    assert (left["device_id"], left["device_owner"]) == ("", "")
    assert api.list("port", device_id=server) == []


def test_several_networks_without_a_default_are_ambiguous(
    api: Api, site: Site, alfa: Tenant
) -> None:
    with database.transaction() as session:
        for network in session.scalars(select(Network).where(Network.is_default)):
            network.is_default = False
    subnet_of(api)
    answer = create(site, alfa, networks="auto")
    assert (answer.status_code, "Multiple possible networks" in answer.text) == (409, True)


def wanted_of(host: str) -> int:
    with database.reading() as session:
        return host_networking.revision(session, host)


def test_whatever_changes_a_guest_s_networking_makes_its_host_be_told(
    api: Api, site: Site, alfa: Tenant
) -> None:
    host, port = alfa.things["host"], alfa.things["port_id"]
    steps: list[Callable[[], Any]] = []
    group = api.make("security_group", name="g")["id"]
    rule = {"security_group_id": group, "direction": "ingress"}
    steps.append(lambda: api.put("port", port, security_groups=[group]))
    steps.append(lambda: api.post("security_group_rule", **rule))
    steps.append(lambda: api.delete(
        "security_group_rule",
        api.list("security_group_rule", **rule)[0]["id"]))  # fmt: skip
    subnet = {"subnet_id": alfa.things["subnet_id"]}
    path = f"{NETWORK}/routers/{alfa.things['router_id']}"
    steps.append(lambda: site.call("PUT", f"{path}/add_router_interface", USER, json=subnet))
    gateway = {"network_id": outside(site)}
    steps.append(lambda: api.put("router", alfa.things["router_id"], external_gateway_info=gateway))
    floating = alfa.things["floatingip_id"]
    steps.append(lambda: api.put("floatingip", floating, port_id=port))
    actions = f"{COMPUTE}/servers/{alfa.things['server_id']}/action"
    named = {"name": "alfa-group"}
    steps.append(lambda: site.post(actions, USER, json={"addSecurityGroup": named}))
    steps.append(lambda: site.post(actions, USER, json={"removeSecurityGroup": named}))
    for number, step in enumerate(steps):
        before = wanted_of(host)
        answer = step()
        assert answer.status_code < 300, (number, answer.text)
        assert wanted_of(host) > before, number
    with database.reading() as session:
        state = host_networking.of_host(session, host)
    (guarded,) = state.ports
    assert guarded.groups == (group,)
    assert {rule.direction for rule in state.groups[group]} == {"egress"}
    assert state.segments[0].uplink
    assert state.floating[0].fixed == guarded.address
    with database.transaction() as session:
        at = host_networking.revision(session, host)
        assert host_networking.due(session, [host]) == [host]
        assert host_networking.due(session, [host]) == []  # rung a moment ago
        host_networking.applied(session, host, at - 1, "")
        host_networking.applied(session, host, at, "the hypervisor is away")
        assert session.get_one(HostNetworking, host).applied == at - 1
        host_networking.applied(session, host, at, "")
        assert session.get_one(HostNetworking, host).applied == at


def test_lists_cost_as_many_statements_for_many_as_for_few(api: Api, site: Site) -> None:
    network, _ = subnet_of(api)

    def counted() -> list[int]:
        found = []
        for noun in PATHS:
            with statements() as seen:
                api.list(noun)
            found.append(len(seen))
        return found

    counted()
    few = counted()
    for number in range(7):
        api.make("security_group", name=f"g{number}")
        api.make("port", network_id=network)
        api.make("network", name=f"n{number}")
        api.make("router", name=f"r{number}")
        api.make("floatingip", floating_network_id=outside(site))
    assert counted() == few


class statements:  # a context manager
    """The statements that are executed meanwhile."""

    def __enter__(self) -> list[str]:
        self.seen: list[str] = []
        event.listen(database.engine(), "before_cursor_execute", self._note)
        return self.seen

    def __exit__(self, *exc: object) -> None:
        event.remove(database.engine(), "before_cursor_execute", self._note)

    def _note(self, connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if (
            statement != "BEGIN" and "revocations" not in statement
        ):  # read every two seconds, whoever asks
            self.seen.append(statement)
