"""The security group that every server is in: guests have no filters yet, so there is one."""

from __future__ import annotations

from typing import Any

from flask import Response

from app.domain.caller import Caller
from app.domain.security_groups import DEFAULT_GROUP, default_id
from app.errors import Invalid
from app.store import server_listing
from app.store.database import reading
from app.web import context
from app.web.answers import answer
from app.web.api import Route
from app.web.compute.versions import ns


def check(caller: Caller, wanted: dict[str, Any]) -> None:
    """Raises Invalid when a create names another group than the project's default."""
    known = (DEFAULT_GROUP, default_id(caller.project_id))
    for group in wanted.get("security_groups", []):
        if group.get("name", DEFAULT_GROUP) not in known:
            raise Invalid(
                "Invalid input for field server.security_groups: there is only "
                f"{DEFAULT_GROUP}, by its name or id"
            )


@ns.route("/v2.1/servers/<server_id>/os-security-groups")
class ServerSecurityGroups(Route):
    policy = {"get": "os_compute_api:os-security-groups:list"}

    def get(self, server_id: str) -> Response:
        """List a server's security groups."""
        with reading() as session:
            found = server_listing.get(session, context.caller(), server_id)
            plugged = server_listing.extras(session, [found]).nics.get(found.id)
        group = {
            "id": default_id(found.project_id),
            "name": DEFAULT_GROUP,
            "description": "Default security group",
            "tenant_id": found.project_id,
            "rules": [],
        }
        return answer({"security_groups": [group] if plugged else []})
