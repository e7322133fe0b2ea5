"""Networks as Compute had them, to 2.35: most of what it said was its own network service's."""

from __future__ import annotations

from typing import Any

from flask import Response

from app.models import Network
from app.store import networks
from app.store.database import reading
from app.store.networks import Listing
from app.web import context
from app.web.answers import answer
from app.web.api import Route
from app.web.compute.ranges import PROXIES
from app.web.compute.versions import ns
from app.web.microversions import before
from app.web.shapes import proxies as shapes
from app.web.shapes.parts import many, under

_EMPTY = (
    "cidr", "netmask", "gateway", "broadcast", "dns1", "dns2", "cidr_v6", "gateway_v6",
    "netmask_v6",
)  # fmt: skip
_EMPTY_FOR_ADMINISTRATORS = (
    "created_at", "updated_at", "deleted_at", "deleted", "injected", "bridge", "vlan",
    "vpn_public_address", "vpn_public_port", "vpn_private_address", "dhcp_start", "project_id",
    "host", "bridge_interface", "multi_host", "priority", "rxtx_base", "mtu", "dhcp_server",
    "enable_dhcp", "share_address",
)  # fmt: skip
_NETWORK = shapes.network(_EMPTY, _EMPTY_FOR_ADMINISTRATORS)


def _shown(row: Network) -> dict[str, Any]:
    more = _EMPTY_FOR_ADMINISTRATORS if context.caller().is_admin else ()
    return {"id": row.id, "label": row.name, **dict.fromkeys((*_EMPTY, *more))}


def _tenant(row: Network) -> dict[str, Any]:
    return {"id": row.id, "label": row.name, "cidr": "None"}


def _all() -> list[Network]:
    with reading() as session:
        return networks.listed(session, context.caller(), Network, Listing())


def _one(network_id: str) -> Network:
    with reading() as session:
        return networks.get(session, context.caller(), Network, network_id)


@ns.route("/v2.1/os-networks")
class Networks(Route):
    shows = {"get": under("networks", many(_NETWORK))}
    versions = before(PROXIES, "get")
    policy = {"get": "os_compute_api:os-networks:list"}
    needs = {"get": ("get_network",)}

    def get(self) -> Response:
        """List networks by their names."""
        return answer({"networks": [_shown(row) for row in _all()]})


@ns.route("/v2.1/os-networks/<network_id>")
class OneNetwork(Route):
    shows = {"get": under("network", _NETWORK)}
    versions = before(PROXIES, "get")
    policy = {"get": "os_compute_api:os-networks:show"}
    needs = {"get": ("get_network",)}

    def get(self, network_id: str) -> Response:
        """Show a network by its name."""
        return answer({"network": _shown(_one(network_id))})


@ns.route("/v2.1/os-tenant-networks")
class TenantNetworks(Route):
    shows = {"get": shapes.TENANT_NETWORKS}
    versions = before(PROXIES, "get")
    policy = {"get": "os_compute_api:os-tenant-networks:list"}
    needs = {"get": ("get_network",)}

    def get(self) -> Response:
        """List networks by their names."""
        return answer({"networks": [_tenant(row) for row in _all()]})


@ns.route("/v2.1/os-tenant-networks/<network_id>")
class OneTenantNetwork(Route):
    shows = {"get": shapes.ONE_TENANT_NETWORK}
    versions = before(PROXIES, "get")
    policy = {"get": "os_compute_api:os-tenant-networks:show"}
    needs = {"get": ("get_network",)}

    def get(self, network_id: str) -> Response:
        """Show a network by its name."""
        return answer({"network": _tenant(_one(network_id))})
