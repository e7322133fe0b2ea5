"""Server actions that boot a guest from another image: rebuild, rescue, unrescue."""

from __future__ import annotations

import secrets
from typing import Any

import orjson
from flask import Response
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.domain.states import KINDS
from app.errors import Invalid
from app.models import Server
from app.store import images, rebuilds, server_listing, server_metadata, servers
from app.web import context
from app.web.accepting import Accepted, accept
from app.web.compute import new_server, personality, schemas, server_views
from app.web.compute.actions import accept_kind, asking, register
from app.web.compute.servers import progress_of
from app.web.policy import require

_WHERE = "rebuild"
_PLAIN = {"OS-DCF:diskConfig": "disk_config", "description": "description", "hostname": "hostname"}
_RULE = "os_compute_api:servers:rebuild"
_CERTIFICATES = f"{_RULE}:trusted_certs"
_ADDRESSES = (("accessIPv4", "access_ipv4", 4), ("accessIPv6", "access_ipv6", 6))


@register("rebuild", _RULE, schemas.rebuild)
@asking(_CERTIFICATES, *server_views.ASKS)
def rebuild(server_id: str, value: Any) -> Response:
    """Give a server a new disk from an image, on its host; what it is called may change too."""

    def work(session: Session) -> Accepted:
        caller = context.caller()
        server = servers.hold(session, caller, server_id)
        servers.check(session, caller, server_id, KINDS["rebuild"])
        changes = _changes(session, caller, server, value)
        action = rebuilds.rebuild(session, caller, server, changes)
        extras = server_listing.extras(session, [server])
        password = value.get("adminPass") or secrets.token_urlsafe(9)
        to = server_views.audience()
        shown = server_views.rebuilt(server, extras, progress_of([server], extras), password, to)
        location = {"Location": f"{context.base_url()}/compute/v2.1/servers/{server_id}"}
        return Accepted([action], 202, orjson.dumps({"server": shown}), location)

    return accept(work)


def _changes(
    session: Session, caller: Caller, server: Server, wanted: dict[str, Any]
) -> dict[str, Any]:
    """What the body asks for, by column. Raises Invalid, naming the field."""
    if "trusted_image_certificates" in wanted:
        require(_CERTIFICATES)
    new_server.refuse_unsupported(wanted, _WHERE)
    image = new_server.usable_image(session, caller, wanted["imageRef"])
    new_server.fits(server, image)
    changes: dict[str, Any] = {
        "image_id": image.id,
        "image_properties": images.for_guests(image),
        "files": personality.parse(session, caller, wanted.get("personality"), _WHERE),
    }
    changes |= {column: wanted[name] for name, column in _PLAIN.items() if name in wanted}
    if "name" in wanted:
        changes["name"] = wanted["name"].strip()
    if "metadata" in wanted:
        server_metadata.check_quota(session, server.project_id, len(wanted["metadata"]))
        changes["meta"] = wanted["metadata"]
    for field, column, version in _ADDRESSES:
        if field in wanted:
            changes[column] = new_server.address(wanted, field, version, _WHERE)
    if "key_name" in wanted:
        key = wanted["key_name"]
        changes |= {
            "key_name": key,
            "public_key": new_server.public_key(session, caller, key),
        }
    if "user_data" in wanted:
        changes["user_data"] = new_server.user_data(wanted["user_data"], "rebuild.user_data")
    return changes


@register("rescue", "os_compute_api:os-rescue", schemas.RESCUE, answers=(200,))
def rescue(server_id: str, value: Any) -> Response:
    """Run a server from another image, or from its own anew, with its disk as the second."""
    wanted = value or {}
    password = wanted.get("adminPass") or secrets.token_urlsafe(9)

    def work(session: Session) -> Accepted:
        caller = context.caller()
        server = servers.hold(session, caller, server_id)
        servers.check(session, caller, server_id, KINDS["rescue"])
        image_id = wanted.get("rescue_image_ref") or server.image_id
        if not image_id:
            raise Invalid(
                "Invalid input for field rescue.rescue_image_ref: the server has no image to be "
                "rescued from, so this must name one"
            )
        image = new_server.usable_image(session, caller, image_id)
        action = rebuilds.rescue(session, caller, server_id, image.id)
        return Accepted([action], 200, orjson.dumps({"adminPass": password}))

    return accept(work)


@register("unrescue", "os_compute_api:os-unrescue", schemas.plain("unrescue"))
def unrescue(server_id: str, value: Any) -> Response:
    """Run a rescued server from its own disk again."""
    return accept_kind(server_id, "unrescue")
