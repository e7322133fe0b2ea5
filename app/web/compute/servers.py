"""Servers: create, list, show, delete."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import orjson
from flask import Response
from sqlalchemy.orm import Session

from app.errors import NotFound
from app.models import Server
from app.store import server_listing, server_updates, servers
from app.store.database import reading, transaction
from app.store.server_listing import Extras
from app.tasks.progress import live
from app.web import context, microversions
from app.web.accepting import Accepted, accept
from app.web.answers import answer
from app.web.api import Route, documented
from app.web.body import body, is_true
from app.web.compute import new_server, schemas, server_query, server_views, views
from app.web.compute.versions import ns
from app.web.extending.installed import with_fields
from app.web.shapes import servers as shapes
from app.web.shapes.parts import NOTHING

_RULE = "os_compute_api:servers:"


def progress_of(found: Sequence[Server], extras: Extras) -> dict[str, int]:
    """Progress in percent by server id: live where a task runs, else its row's, 100 when built."""
    now = live([task_id for task_id, _ in extras.running.values()]) if extras.running else {}
    shown = {server.id: 100 if server.launched_at else 0 for server in found}
    for server_id, (task_id, progress) in extras.running.items():
        if not shown[server_id]:
            shown[server_id] = max(progress, now.get(task_id, (0, ""))[0])
    return shown


@ns.route("/v2.1/servers")
class Servers(Route):
    shows = {"get": shapes.SERVERS, "post": shapes.CREATED}
    policy = {"get": f"{_RULE}index", "post": f"{_RULE}create"}
    asks = {
        "get": (f"{_RULE}index:get_all_tenants", server_query.ALL_FILTERS),
        "post": new_server.ASKS,
    }
    answers = {"post": (202,)}

    @ns.doc(params=server_query.PARAMS)
    def get(self) -> Response:
        """List servers."""
        wanted = server_query.parse(f"{_RULE}index:get_all_tenants")
        with reading() as session:
            found = server_listing.page(session, context.caller(), wanted)
        to = views.audience()
        return answer(_paged([server_views.short(one, to) for one in found], wanted.page.limit))

    @ns.doc(params={"Idempotency-Key": {"in": "header", "description": "makes repeats safe"}})
    @documented(ns, schemas.server(microversions.MAX))
    def post(self) -> Response:
        """Accept one or many new servers: they will exist, or say why not."""
        given = body(schemas.server(context.version()))
        wanted = given["server"]

        def work(session: Session) -> Accepted:
            caller = context.caller()
            parsed = new_server.parse(session, caller, given)
            actions = servers.create(session, caller, parsed)
            first = actions[0].server_id
            password = wanted.get("adminPass") or secrets.token_urlsafe(9)
            groups = [name for _, name in parsed.security_groups]
            to = views.audience()
            shown = server_views.created(first, parsed.disk_config, password, groups, to)
            if is_true(wanted.get("return_reservation_id", False)):
                shown = {"reservation_id": server_listing.reservation(session, first)}
            location = {"Location": f"{context.base_url()}/compute/v2.1/servers/{first}"}
            return Accepted(actions, 202, orjson.dumps(shown), location)

        return accept(work)


def _paged(shown: list[dict[str, Any]], limit: int) -> dict[str, Any]:
    page: dict[str, Any] = {"servers": shown}
    if shown and len(shown) == limit:
        page["servers_links"] = views.next_link(shown[-1]["id"], limit)
    return page


@ns.route("/v2.1/servers/detail")
class ServersDetail(Route):
    shows = {"get": shapes.SERVERS_DETAIL}
    policy = {"get": f"{_RULE}detail"}
    asks = {"get": (f"{_RULE}detail:get_all_tenants", server_query.ALL_FILTERS, *server_views.ASKS)}
    extended = ("get",)

    @ns.doc(params=server_query.PARAMS)
    def get(self) -> Response:
        """List servers with all they have."""
        wanted = server_query.parse(f"{_RULE}detail:get_all_tenants")
        with reading() as session:
            found = server_listing.page(session, context.caller(), wanted)
            extras = server_listing.extras(session, found)
        progress, to = progress_of(found, extras), server_views.audience()
        shown = [server_views.whole(one, extras, progress, to) for one in found]
        return answer(_paged(with_fields(shown, found), wanted.page.limit))


@ns.route("/v2.1/servers/<server_id>")
class OneServer(Route):
    shows = {"get": shapes.ONE_SERVER, "put": shapes.CHANGED_SERVER, "delete": NOTHING}
    policy = {
        "get": f"{_RULE}show",
        "put": f"{_RULE}update",
        "delete": f"{_RULE}delete",
    }
    asks = {"get": server_views.ASKS, "put": server_views.ASKS}
    extended = ("get", "put")

    def get(self, server_id: str) -> Response:
        """Show a server."""
        caller = context.caller()
        with reading() as session:
            found = server_listing.get(session, caller, server_id)
            extras = server_listing.extras(session, [found], groups=True)
        progress = progress_of([found], extras)
        to = server_views.audience()
        shown = server_views.single(found, extras, progress, to)
        return answer({"server": with_fields([shown], [found])[0]})

    @documented(ns, schemas.server_change(microversions.MAX))
    def put(self, server_id: str) -> Response:
        """Change a server's name, description, host name, access addresses or disk config."""
        wanted = body(schemas.server_change(context.version()))["server"]
        changes = _changes(wanted)
        with transaction() as session:
            found = server_updates.update(session, context.caller(), server_id, changes)
            extras = server_listing.extras(session, [found], groups=True)
        progress = progress_of([found], extras)
        to = server_views.audience()
        shown = server_views.changed(found, extras, progress, to)
        return answer({"server": with_fields([shown], [found])[0]})

    def delete(self, server_id: str) -> Response:
        """Accept a server's deletion, whatever it is doing."""

        def work(session: Session) -> Accepted:
            action = servers.request(session, context.caller(), server_id, "delete", {})
            return Accepted([action], 204)

        return accept(work)


def _changes(wanted: dict[str, Any]) -> dict[str, str | None]:
    """What is asked for, by column."""
    named = {
        "OS-DCF:diskConfig": "disk_config",
        "description": "description",
        "hostname": "hostname",
        "pinned_availability_zone": "availability_zone",
    }
    changes = {column: wanted[name] for name, column in named.items() if name in wanted}
    if "name" in wanted:
        changes["name"] = wanted["name"].strip()
    for field, column, version in (
        ("accessIPv4", "access_ipv4", 4),
        ("accessIPv6", "access_ipv6", 6),
    ):
        if field in wanted:
            changes[column] = new_server.address(wanted, field, version)
    return changes


@ns.route("/v2.1/servers/<server_id>/ips")
class ServerAddresses(Route):
    shows = {"get": shapes.ALL_ADDRESSES}
    policy = {"get": "os_compute_api:ips:index"}

    def get(self, server_id: str) -> Response:
        """Show a server's addresses by network."""
        return answer({"addresses": _addresses_of(server_id)})


@ns.route("/v2.1/servers/<server_id>/ips/<network>")
class ServerAddressesInNetwork(Route):
    shows = {"get": shapes.ADDRESSES}
    policy = {"get": "os_compute_api:ips:show"}

    def get(self, server_id: str, network: str) -> Response:
        """Show a server's addresses in the network of this name."""
        found = _addresses_of(server_id)
        if network not in found:
            raise NotFound("Instance is not a member of specified network")
        return answer({network: found[network]})


def _addresses_of(server_id: str) -> dict[str, list[dict[str, Any]]]:
    with reading() as session:
        found = server_listing.get(session, context.caller(), server_id)
        extras = server_listing.extras(session, [found])
    return server_views.plain_addresses(extras.nics.get(found.id, []))
