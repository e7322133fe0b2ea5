"""What one project may not do to another's networking, or to the cloud's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, update
from werkzeug.test import TestResponse

from app.errors import Invalid
from app.models import Host, Port, new_id
from app.store import database, reserved_networks, security_groups
from app.store.audit import addresses
from app.web.factory import create_app
from tests.integration.tenants import Tenant, quiet, seeded_database, site, tenants
from tests.integration.test_web_networking import ADMIN, NETWORK, OTHER, USER, Api, create, refused
from tests.integration.test_web_usage import add
from tests.integration.web_fixtures import Site

__all__ = ["quiet", "seeded_database", "site", "tenants"]
INTERFACE = "network:router_interface"


@pytest.fixture
def api(site: Site, tenants: tuple[Tenant, Tenant]) -> Api:
    return Api(site)


@pytest.fixture
def shared(site: Site, api: Api) -> dict[str, Any]:
    """A network for all projects; its subnet's id is in `subnet`."""
    admin = Api(site, ADMIN)
    network = admin.make("network", name="all", shared=True)
    subnet = admin.make("subnet", network_id=network["id"], cidr="10.92.0.0/24")
    return network | {"subnet": subnet["id"]}


def lead(site: Site, router: dict[str, Any], user: str = USER, **what: str) -> TestResponse:
    """Ask for an interface of the router."""
    path = f"{NETWORK}/routers/{router['id']}/add_router_interface"
    return site.call("PUT", path, user, json=what)


def test_only_administrators_make_ports_of_the_cloud_s_devices(site: Site, api: Api) -> None:
    network = api.make("network", name="own")["id"]
    subnet = api.make("subnet", network_id=network, cidr="10.90.0.0/24")["id"]
    router = Api(site, OTHER).make("router", name="theirs")
    device = {"device_id": router["id"], "device_owner": INTERFACE}
    refused(api.post("port", network_id=network, **device), 403, "PolicyNotAuthorized", "device")
    port = api.make("port", network_id=network, device_owner="mine")
    refused(api.put("port", port["id"], **device), 403, "PolicyNotAuthorized", "device_owner")
    half = api.put("port", port["id"], device_id=router["id"]).json["port"]
    assert (half["device_id"], half["device_owner"]) == (router["id"], "mine")
    refused(api.put("port", port["id"], device_owner=INTERFACE), 403, "PolicyNotAuthorized")
    owned = Api(site, ADMIN).put("port", port["id"], device_owner="network:dhcp", device_id="agent")
    assert owned.status_code == 200
    assert subnet == owned.json["port"]["fixed_ips"][0]["subnet_id"]


def test_a_router_s_port_stays_the_router_s(site: Site, api: Api) -> None:
    network = api.make("network", name="own")["id"]
    subnet = api.make("subnet", network_id=network, cidr="10.90.0.0/24")["id"]
    router = api.make("router", name="mine")
    other = Api(site, OTHER).make("router", name="theirs")
    port = lead(site, router, subnet_id=subnet).json["port_id"]
    for change in ({"device_id": other["id"]}, {"device_owner": ""}, {"device_id": ""}):
        refused(api.put("port", port, **change), 403, "PolicyNotAuthorized", next(iter(change)))
    same = {"name": "in", "device_id": router["id"], "device_owner": INTERFACE}
    assert api.put("port", port, **same).json["port"]["name"] == "in"


def test_others_subnets_are_not_one_s_own_router_s_to_lead(
    site: Site, shared: dict[str, Any]
) -> None:
    stranger = Api(site, OTHER)
    router = stranger.make("router", name="mine")
    refused(lead(site, router, OTHER, subnet_id=shared["subnet"]), 400, "BadRequest", "not owned")
    port = stranger.make("port", network_id=shared["id"])
    refused(lead(site, router, OTHER, port_id=port["id"]), 400, "BadRequest", "not owned")
    assert lead(site, router, ADMIN, subnet_id=shared["subnet"]).status_code == 200


@pytest.mark.parametrize("text", ["--5", "-", "+5", "9999999999", "1_0", "5 ", "٥"])
def test_what_is_no_whole_number_is_a_bad_filter(api: Api, site: Site, text: str) -> None:
    asked = {"port_range_min": text}
    answer = site.get(f"{NETWORK}/security-group-rules", USER, query_string=asked)
    assert answer.status_code == 400, answer.text
    assert "port_range_min" in answer.json["NeutronError"]["message"]


@pytest.mark.parametrize("address", ["10.90.0.0", "10.90.0.255"])
def test_addresses_of_no_host_are_nobody_s(
    site: Site, api: Api, tenants: tuple[Tenant, Tenant], address: str
) -> None:
    network = api.make("network", name="own")["id"]
    api.make("subnet", network_id=network, cidr="10.90.0.0/24")
    fixed = [{"ip_address": address}]
    refused(api.post("port", network_id=network, fixed_ips=fixed), 400, "InvalidIpForNetwork")
    port = api.make("port", network_id=network)["id"]
    refused(api.put("port", port, fixed_ips=fixed), 400, "InvalidIpForNetwork")
    answer = create(site, tenants[0], networks=[{"uuid": network, "fixed_ip": address}])
    assert (answer.status_code, address in answer.text) == (400, True), answer.text


def test_a_project_goes_while_a_host_owes_the_removal_of_its_server(site: Site, api: Api) -> None:
    made = {"project": {"name": "brief"}}
    project = site.post("/identity/v3/projects", "admin", json=made).json["project"]["id"]
    network = api.make("network", name="own")["id"]
    api.make("subnet", network_id=network, cidr="10.90.0.0/24")
    server = add(0.0, 1.0, of="novella", project_id=project)
    with database.transaction() as session:
        group = security_groups.ensure_default(session, project)
        port = Port(id=new_id(), project_id=project, network_id=network, mac="fa:16:3e:00:00:01")
        port.server_id = server
        session.add(port)
        session.flush()
        security_groups.join(session, [port.id], [group])
    gone = site.delete(f"/identity/v3/projects/{project}", "admin")
    assert gone.status_code == 204, gone.text
    with database.reading() as session:  # until the host has let go of it
        assert session.scalars(select(Port.server_id).where(Port.project_id == project)).one()


def test_a_gateway_is_never_a_port_s_address(api: Api) -> None:
    network = api.make("network", name="own")["id"]
    pool = {"start": "10.90.0.100", "end": "10.90.0.110"}
    subnet = api.make("subnet", network_id=network, cidr="10.90.0.0/24", allocation_pools=[pool])
    api.make("port", network_id=network, fixed_ips=[{"ip_address": "10.90.0.9"}])
    taken = api.put("subnet", subnet["id"], gateway_ip="10.90.0.9")
    refused(taken, 409, "GatewayIpInUse", "10.90.0.9")
    free = api.put("subnet", subnet["id"], gateway_ip="10.90.0.8").json["subnet"]
    assert free["gateway_ip"] == "10.90.0.8"


@pytest.mark.parametrize("name", ["shared", "router:external", "is_default"])
def test_only_administrators_change_what_is_for_all_even_to_what_it_is(api: Api, name: str) -> None:
    made = api.make("network", name="own", **{name: False})  # what everybody gets
    answer = api.put("network", made["id"], **{name: False})
    refused(answer, 403, "PolicyNotAuthorized", name)
    assert api.put("network", made["id"], name="mine").status_code == 200


@pytest.fixture
def guarded_site(site: Site, monkeypatch: pytest.MonkeyPatch) -> Site:
    """A cloud whose operator reserves networks, and whose API has an address of its own."""
    settings = replace(
        site.app.extensions["novella"].settings,
        reserved_networks="192.0.2.0/24, 10.200.0.0/16",
        public_url="https://10.201.0.5:8774",
        broker_url="redis://:secret@10.202.0.5:6379/0",
    )
    reserved = reserved_networks.of_settings(settings)
    monkeypatch.setattr(site.app.extensions["novella"], "reserved", reserved)
    return site


@pytest.mark.parametrize("number", ["200", "201", "202", "203"])
def test_a_subnet_never_holds_the_cloud_s_own_addresses(
    guarded_site: Site, api: Api, number: str
) -> None:
    with database.transaction() as session:
        session.execute(update(Host).values(address="10.203.0.5"))
        assert session.scalars(select(Host.address)).first() == "10.203.0.5"
    network = api.make("network", name="own")["id"]
    for net in (f"10.{number}.0.0/24", "10.192.0.0/12"):
        answer = api.post("subnet", network_id=network, cidr=net)
        refused(answer, 400, "InvalidInput", "subnet.cidr")
        assert "the cloud's own" in answer.json["NeutronError"]["message"]
    api.make("subnet", network_id=network, cidr="10.204.0.0/24")


def test_reserved_networks_that_cannot_be_read_keep_the_web_from_starting(site: Site) -> None:
    settings = replace(site.app.extensions["novella"].settings, reserved_networks="10.0.0.0/33")
    with pytest.raises(Invalid, match="reserved_networks"):
        create_app(settings)


@pytest.mark.parametrize("cidr", ["8.8.8.0/24", "172.0.0.0/8", "100.0.0.0/9", "192.168.0.0/15"])
def test_members_make_no_subnets_of_public_addresses_and_administrators_do(
    site: Site, api: Api, cidr: str
) -> None:
    network = api.make("network", name="own")["id"]
    answer = api.post("subnet", network_id=network, cidr=cidr)
    refused(answer, 400, "InvalidInput", "subnet.cidr")
    for words in ("tenant_subnets", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"):
        assert words in answer.json["NeutronError"]["message"]
    admin = Api(site, ADMIN)
    outside = admin.make("network", name="out", **{"router:external": True})["id"]
    assert admin.post("subnet", network_id=outside, cidr=cidr).status_code == 201


@pytest.mark.parametrize(
    "cidr", ["10.200.0.0/24", "172.31.0.0/16", "192.168.7.0/24", "100.100.0.0/16"]
)
def test_members_subnets_are_of_private_addresses(api: Api, cidr: str) -> None:
    network = api.make("network", name="own")["id"]
    assert api.post("subnet", network_id=network, cidr=cidr).status_code == 201


@pytest.mark.parametrize(
    "cidr", ["0.0.0.0/8", "127.5.0.0/16", "169.254.169.0/24", "224.0.1.0/24", "250.0.0.0/8"]
)
def test_nobody_makes_subnets_of_what_no_guest_can_use(site: Site, api: Api, cidr: str) -> None:
    admin = Api(site, ADMIN)
    network = admin.make("network", name="own")["id"]
    answer = admin.post("subnet", network_id=network, cidr=cidr)
    refused(answer, 400, "HTTPBadRequest", "subnet.cidr")


def test_tenant_subnets_says_where_members_subnets_may_be(
    site: Site, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    web = site.app.extensions["novella"]
    network = api.make("network", name="own")["id"]
    chosen = replace(web.settings, tenant_subnets="8.8.8.0/25, 8.8.8.128/25").for_tenants
    monkeypatch.setattr(web, "for_tenants", chosen)
    assert api.post("subnet", network_id=network, cidr="10.90.0.0/24").status_code == 400
    assert api.post("subnet", network_id=network, cidr="8.8.8.0/24").status_code == 201
    with pytest.raises(Invalid, match="setting tenant_subnets"):
        create_app(replace(web.settings, tenant_subnets="10.0.0.0/33"))


def test_hosts_whose_address_is_in_a_subnet_are_found(site: Site, api: Api) -> None:
    with database.transaction() as session:
        assert addresses.hosts_inside(session) == []
        name = session.scalars(select(Host.name)).first()
        session.execute(update(Host).where(Host.name == name).values(address="10.77.0.9"))
        ((host, address, _, cidr),) = addresses.hosts_inside(session)
        assert (host, address, cidr) == (name, "10.77.0.9", "10.77.0.0/24")
