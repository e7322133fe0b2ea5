"""Networks."""

from __future__ import annotations

from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from app.models import Network
from app.store import database, network_changes, networks
from app.web import context, policy
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body, is_true
from app.web.network import schemas, views
from app.web.network.resources import chosen, chosen_columns, listed, listing, owner
from app.web.network.versions import ns
from app.web.shapes import network as shapes
from app.web.shapes.parts import NOTHING, under

_COLUMNS = {
    "id": ("id", str),
    "name": ("name", str),
    "description": ("description", str),
    "tenant_id": ("project_id", str),
    "project_id": ("project_id", str),
    "shared": ("shared", bool),
    "is_default": ("is_default", bool),
    "router:external": ("external", bool),
    "port_security_enabled": ("port_security_enabled", bool),
    "admin_state_up": ("admin_state_up", bool),
    "status": ("status", str),
    "mtu": ("mtu", int),
}
_PROVIDER = {
    "provider:network_type": "network_type",
    "provider:physical_network": "physical_network",
    "provider:segmentation_id": "segmentation_id",
}
_FOR_ADMINISTRATORS = {
    name: (column, int if column == "segmentation_id" else str)
    for name, column in _PROVIDER.items()
}
_FIXED = {**dict.fromkeys(_PROVIDER, ""), "tags": "", "tags-any": ""}
_SORTABLE = (
    "id", "name", "tenant_id", "project_id", "shared", "admin_state_up", "mtu", "router:external",
    "description",
)  # fmt: skip
_WRITABLE = {
    "name": "name",
    "description": "description",
    "mtu": "mtu",
    "admin_state_up": "admin_state_up",
    "shared": "shared",
    "router:external": "external",
    "is_default": "is_default",
    "port_security_enabled": "port_security_enabled",
    **_PROVIDER,
}
_FLAGS = ("admin_state_up", "shared", "external", "is_default", "port_security_enabled")
_GUARDED = {
    "shared": "shared",
    "router:external": "router:external",
    "is_default": "is_default",
    **{name: name for name in _PROVIDER},
}
"""What only administrators set, and how the rule's name ends."""
_DEFAULTS = (None, False, "false", "False")
"""What a new network is anyhow: everybody may say so, as with Neutron; of a change, nobody."""


def _guards(rule: str) -> tuple[str, ...]:
    return tuple(f"{rule}:{ending}" for ending in _GUARDED.values())


@ns.route("/v2.0/networks")
class Networks(Route):
    shows = {
        "get": shapes.listed("networks", shapes.NETWORK),
        "post": under("network", shapes.NETWORK),
    }
    policy = {"get": "get_network", "post": "create_network"}
    answers = {"post": (201,)}
    asks = {"get": views.PROVIDER, "post": (*views.PROVIDER, *_guards("create_network"))}

    @ns.doc(params=dict.fromkeys(_COLUMNS, "exactly this; several times for several"))
    def get(self) -> Response:
        """List one's own networks, shared and external ones."""
        provided = views.provided()
        columns = _COLUMNS | {name: _FOR_ADMINISTRATORS[name] for name in provided}
        fixed = {name: value for name, value in _FIXED.items() if name not in columns}
        wanted = listing(columns, _SORTABLE, fixed)
        with database.reading() as session:
            found = networks.listed(session, context.caller(), Network, wanted)
            subnets = networks.subnet_ids(session, [row.id for row in found])
        shown = [views.network(row, subnets.get(row.id, []), provided) for row in found]
        return answer(listed("networks", shown, wanted.page.limit))

    @documented(ns, schemas.NEW_NETWORK)
    def post(self) -> Response:
        """Make a network, which is empty of subnets."""
        given = body(schemas.NEW_NETWORK)["network"]
        _guard("create_network", given, _DEFAULTS)
        values = _columns(given) | {"project_id": owner(given, "create_network")}
        values.setdefault("name", "")

        def work(session: Session) -> Response:
            made = network_changes.add_network(session, values)
            return answer({"network": views.network(made, [], views.provided())}, 201)

        return once(work)


@ns.route("/v2.0/networks/<network_id>")
class OneNetwork(Route):
    shows = {
        "get": shapes.shown("network", shapes.NETWORK),
        "put": under("network", shapes.NETWORK),
        "delete": NOTHING,
    }
    policy = {"get": "get_network", "put": "update_network", "delete": "delete_network"}
    asks = {"get": views.PROVIDER, "put": (*views.PROVIDER, *_guards("update_network"))}

    def get(self, network_id: str) -> Response:
        """Show a network."""
        with database.reading() as session:
            found = networks.get(session, context.caller(), Network, network_id)
            subnets = networks.subnet_ids(session, [found.id])
        shown = views.network(found, subnets.get(found.id, []), views.provided())
        return answer({"network": chosen([shown])[0]})

    @documented(ns, schemas.NETWORK)
    def put(self, network_id: str) -> Response:
        """Change a network."""
        given = body(schemas.NETWORK)["network"]
        _guard("update_network", given)
        caller = context.caller()
        with database.transaction() as session:
            found = network_changes.change_network(session, caller, network_id, _columns(given))
            subnets = networks.subnet_ids(session, [found.id])
        shown = views.network(found, subnets.get(found.id, []), views.provided())
        return answer({"network": shown})

    def delete(self, network_id: str) -> Response:
        """Remove a network that has no ports, with its subnets."""
        with database.transaction() as session:
            network_changes.remove_network(session, context.caller(), network_id)
        return nothing()


def _guard(rule: str, given: dict[str, Any], plain: tuple[Any, ...] = ()) -> None:
    """Raises Forbidden for what only administrators set; `plain` values are as if not given."""
    for name, ending in _GUARDED.items():
        if name in given and given[name] not in plain:
            policy.require(f"{rule}:{ending}")


def _columns(given: dict[str, Any]) -> dict[str, Any]:
    values = chosen_columns(given, _WRITABLE)
    for name in _FLAGS:
        if name in values:
            values[name] = is_true(values[name])
    for name in ("mtu", "segmentation_id"):
        if values.get(name) is not None:
            values[name] = int(values[name])
    return values
