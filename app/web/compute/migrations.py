"""Migrations of servers between hosts. There are none yet: the lists are empty."""

from __future__ import annotations

from flask import Response, request

from app.errors import Invalid, NotFound
from app.store import server_listing
from app.store.database import reading
from app.web import context, query, times
from app.web.answers import answer
from app.web.api import Route
from app.web.compute.ranges import known_parameters
from app.web.compute.versions import ns
from app.web.microversions import since
from app.web.policy import require
from app.web.shapes import operating as shapes

PAGED, OF_USERS = (2, 59), (2, 80)
_FILTERS = ("hidden", "host", "instance_uuid", "source_compute", "status", "migration_type")
_KINDS = ("evacuation", "live-migration", "migration", "resize")
_SINCE = (
    (PAGED, ("limit", "marker", "changes-since")),
    ((2, 66), ("changes-before",)),
    (OF_USERS, ("user_id", "project_id")),
)
_RULE = "os_compute_api:os-migrations:index"


@ns.route("/v2.1/os-migrations")
class Migrations(Route):
    shows = {"get": shapes.MIGRATIONS}
    policy = {"get": _RULE}
    asks = {"get": (f"{_RULE}:all_projects",)}

    @ns.doc(
        params={
            "host": "to or from this host",
            "instance_uuid": "of this server",
            "status": "of this status",
            "migration_type": ", ".join(_KINDS),
            "limit": "from 2.59: at most 1000",
            "marker": "from 2.59: the last one of the page before",
        }
    )
    def get(self) -> Response:
        """List migrations: of a project for its managers, of all for administrators."""
        version = context.version()
        if request.args.get("project_id") != context.caller().project_id:
            require(f"{_RULE}:all_projects")
        newer = [name for since, names in _SINCE if version >= since for name in names]
        known_parameters(*_FILTERS, *newer, since=PAGED)
        query.limit()
        query.choice("migration_type", _KINDS[0], _KINDS)
        for name in ("changes-since", "changes-before"):
            if (text := request.args.get(name)) and name in newer:
                times.parse(text, name)
        if (marker := request.args.get("marker")) and "marker" in newer:
            raise Invalid(f"marker [{marker[:64]}] not found")
        return answer({"migrations": []})


@ns.route("/v2.1/servers/<server_id>/migrations")
class ServerMigrations(Route):
    shows = {"get": shapes.MIGRATIONS}
    versions = since((2, 23), "get")
    policy = {"get": "os_compute_api:servers:migrations:index"}

    def get(self, server_id: str) -> Response:
        """List what is moving the server now, for managers."""
        with reading() as session:
            server_listing.get(session, context.caller(), server_id)
        return answer({"migrations": []})


@ns.route("/v2.1/servers/<server_id>/migrations/<migration_id>")
class ServerMigration(Route):
    versions = since((2, 23), "get") | since((2, 24), "delete")
    policy = {
        "get": "os_compute_api:servers:migrations:show",
        "delete": "os_compute_api:servers:migrations:delete",
    }
    answers = {"get": (), "delete": ()}

    def get(self, server_id: str, migration_id: str) -> Response:
        """Show one migration of a server: 404, for there is none."""
        raise _missing(server_id, migration_id)

    def delete(self, server_id: str, migration_id: str) -> Response:
        """Abort a migration: 404, for there is none."""
        raise _missing(server_id, migration_id)


def _missing(server_id: str, migration_id: str) -> NotFound:
    with reading() as session:
        server_listing.get(session, context.caller(), server_id)
    return NotFound(f"Migration {migration_id[:64]} for server {server_id} could not be found.")
