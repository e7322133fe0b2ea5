"""Changes of networking that meet, on PostgreSQL, where requests really run side by side."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import text

from app.errors import Conflict
from app.models import Flavor, PortGroup
from app.store import database
from tests.integration.test_web_identity_postgres import site, together
from tests.integration.test_web_networking import NETWORK, Api
from tests.integration.web_fixtures import Site

__all__ = ["site"]
AT_ONCE = 6


@pytest.fixture
def api(site: Site) -> Api:
    return Api(site, "admin")


def subnet(api: Api) -> tuple[str, str]:
    network = api.make("network", name="own")["id"]
    return network, api.make("subnet", network_id=network, cidr="10.90.0.0/24")["id"]


@pytest.mark.parametrize("addressed", [True, False])
def test_of_many_ports_with_one_mac_there_is_one(site: Site, api: Api, addressed: bool) -> None:
    network, _ = subnet(api)
    body: dict[str, Any] = {"network_id": network, "mac_address": "fa:16:3e:00:00:07"}
    more = {} if addressed else {"fixed_ips": []}
    made = together(site, AT_ONCE, lambda _: api.post("port", **body, **more).status_code)
    assert made == [201, *[409] * (AT_ONCE - 1)]


def test_of_many_floating_addresses_for_one_port_there_is_one(site: Site, api: Api) -> None:
    external = api.make("network", name="out", **{"router:external": True})["id"]
    api.make("subnet", network_id=external, cidr="198.51.100.0/24")
    network, inner = subnet(api)
    router = api.make("router", name="r", external_gateway_info={"network_id": external})
    path = f"{NETWORK}/routers/{router['id']}/add_router_interface"
    assert site.call("PUT", path, "admin", json={"subnet_id": inner}).status_code == 200
    port = api.make("port", network_id=network)["id"]
    ids = [api.make("floatingip", floating_network_id=external)["id"] for _ in range(AT_ONCE)]
    given = together(
        site, AT_ONCE, lambda at: api.put("floatingip", ids[at], port_id=port).status_code
    )
    assert given == [200, *[409] * (AT_ONCE - 1)]
    assert len(api.list("floatingip", port_id=port)) == 1


def test_a_port_becomes_the_interface_of_one_router(site: Site, api: Api) -> None:
    network, _ = subnet(api)
    port = api.make("port", network_id=network)["id"]
    routers = [api.make("router", name=f"r{at}")["id"] for at in range(AT_ONCE)]

    def lead(at: int) -> int:
        path = f"{NETWORK}/routers/{routers[at]}/add_router_interface"
        return site.call("PUT", path, "admin", json={"port_id": port}).status_code

    assert together(site, AT_ONCE, lead) == [200, *[409] * (AT_ONCE - 1)]


def test_two_ports_of_one_subnet_are_not_the_interfaces_of_two_routers(
    site: Site, api: Api
) -> None:
    network, _ = subnet(api)
    ports = [api.make("port", network_id=network)["id"] for _ in range(AT_ONCE)]
    routers = [api.make("router", name=f"r{at}")["id"] for at in range(AT_ONCE)]

    def lead(at: int) -> int:
        path = f"{NETWORK}/routers/{routers[at]}/add_router_interface"
        return site.call("PUT", path, "admin", json={"port_id": ports[at]}).status_code

    assert together(site, AT_ONCE, lead) == [200, *[400] * (AT_ONCE - 1)]


def test_ports_beside_the_removal_of_their_group_or_network_are_refused(
    site: Site, api: Api
) -> None:
    network, _ = subnet(api)
    other = api.make("network", name="bare")["id"]
    group = api.make("security_group", name="g")["id"]

    def ask(at: int) -> int:
        if at == AT_ONCE:
            return api.delete("security_group", group).status_code
        if at == AT_ONCE + 1:
            return api.delete("network", other).status_code
        where = other if at % 2 else network
        return api.post("port", network_id=where, security_groups=[group]).status_code

    statuses = together(site, AT_ONCE + 2, ask)
    assert set(statuses) <= {201, 204, 404, 409}
    assert len(api.list("port", security_groups=group)) == statuses.count(201)


def twins() -> list[Any]:
    """Two of the same key."""
    id_ = str(uuid.uuid4())
    values = {"vcpus": 1, "ram_mb": 1, "disk_gb": 1}
    return [Flavor(id=id_, name=f"twin{at}", **values) for at in range(2)]


def orphan() -> list[Any]:
    """What refers to nothing."""
    return [PortGroup(port_id=str(uuid.uuid4()), group_id=str(uuid.uuid4()))]


def keep(rows: list[Any]) -> None:
    with database.transaction() as session:
        for row in rows:
            session.add(row)
            session.flush()
            session.expunge_all()


@pytest.mark.parametrize("make", [twins, orphan])
def test_what_another_took_or_removed_meanwhile_is_a_conflict(
    site: Site, make: Callable[[], list[Any]]
) -> None:
    with pytest.raises(Conflict, match="at the same moment"):
        keep(make())
    with database.transaction() as session:
        assert session.scalar(text("select 1")) == 1
