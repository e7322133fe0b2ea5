"""Extensions of the Network API: those that hold here, and no others."""

from __future__ import annotations

from flask import Response

from app.errors import NotFound
from app.web.answers import answer
from app.web.api import Route
from app.web.network.versions import ns
from app.web.shapes import network as shapes

_UPDATED = "2026-01-01T00:00:00-00:00"
_EXTENSIONS = {
    "allowed-address-pairs": ("Allowed Address Pairs", "What a port may use besides its own."),
    "availability_zone": ("Availability Zone", "The zones that networks are in."),
    "binding": ("Port Binding", "Administrators see the host of a port."),
    "external-net": ("Neutron external network", "Networks with addresses that float."),
    "net-mtu": ("Network MTU", "Networks show the MTU of their links."),
    "net-mtu-writable": ("Network MTU (writable)", "The MTU of a network can be chosen."),
    "pagination": ("Pagination support", "Lists come in pages, with limit and marker."),
    "port-security": ("Port Security", "Filters of a port can be switched off."),
    "project-id": ("Project ID", "project_id stands beside tenant_id."),
    "provider": ("Provider Network", "Administrators say how a network is provided."),
    "quotas": ("Quota management support", "Quotas of projects."),
    "quota_details": ("Quota details", "Quotas can be read with what is in use."),
    "router": ("Neutron L3 Router", "Routers and floating addresses."),
    "security-group": ("security-group", "What may reach a port, and what it may reach."),
    "sorting": ("Sorting support", "Lists are ordered by sort_key and sort_dir."),
    "standard-attr-timestamp": ("Resource timestamps", "created_at and updated_at."),
}


def _shown(alias: str) -> dict[str, object]:
    name, description = _EXTENSIONS[alias]
    return {
        "alias": alias,
        "name": name,
        "description": description,
        "updated": _UPDATED,
        "links": [],
    }


@ns.route("/v2.0/extensions")
class Extensions(Route):
    shows = {"get": shapes.EXTENSIONS}
    policy = {"get": "get_extension"}

    def get(self) -> Response:
        """List the API extensions that hold here."""
        return answer({"extensions": [_shown(alias) for alias in _EXTENSIONS]})


@ns.route("/v2.0/extensions/<alias>")
class OneExtension(Route):
    shows = {"get": shapes.ONE_EXTENSION}
    policy = {"get": "get_extension"}

    def get(self, alias: str) -> Response:
        """Show an API extension."""
        if alias not in _EXTENSIONS:
            raise NotFound(f"Extension with alias {alias} does not exist")
        return answer({"extension": _shown(alias)})
