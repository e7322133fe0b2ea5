"""Server actions that change how a guest runs, and leave it where and what it is."""

from __future__ import annotations

from typing import Any

from flask import Response

from app.domain.states import KINDS, RESTORE
from app.errors import Conflict
from app.sealing import SEALED, seal
from app.store import plans, servers
from app.store.database import reading
from app.tasks import host_reads
from app.web import context
from app.web.compute import schemas
from app.web.compute.actions import accept_kind, host_to_ask, register
from app.web.compute.schemas import plain

ADMINISTRATOR = {"windows": "Administrator"}
"""Whose password is changed, by the image's `os_type`; "root" of any other."""


@register("pause", "os_compute_api:os-pause-server:pause", plain("pause"))
def pause(server_id: str, value: Any) -> Response:
    """Let a running server stand still, in memory."""
    return accept_kind(server_id, "pause")


@register("unpause", "os_compute_api:os-pause-server:unpause", plain("unpause"))
def unpause(server_id: str, value: Any) -> Response:
    """Let a paused server go on."""
    return accept_kind(server_id, "unpause")


@register("suspend", "os_compute_api:os-suspend-server:suspend", plain("suspend"))
def suspend(server_id: str, value: Any) -> Response:
    """Save a running server's memory to disk."""
    return accept_kind(server_id, "suspend")


@register("resume", "os_compute_api:os-suspend-server:resume", plain("resume"))
def resume(server_id: str, value: Any) -> Response:
    """Let a suspended server go on."""
    return accept_kind(server_id, "resume")


@register(
    "trigger_crash_dump",
    "os_compute_api:servers:trigger_crash_dump",
    schemas.CRASH_DUMP,
    since=(2, 17),
)
def trigger_crash_dump(server_id: str, value: Any) -> Response:
    """Interrupt a server so that its system dumps its memory."""
    return accept_kind(server_id, "trigger_crash_dump")


@register("changePassword", "os_compute_api:os-admin-password", schemas.CHANGE_PASSWORD)
def change_password(server_id: str, value: Any) -> Response:
    """Set the administrator's password in a server whose guest agent answers; else 409."""
    with reading() as session:
        server = servers.check(session, context.caller(), server_id, KINDS["changePassword"])
        image = plans.image_of(session, server)
        os_type = str(image.properties.get("os_type", "")) if image else ""
    if not host_reads.has_agent(host_to_ask(server_id), server_id):
        raise Conflict(
            f"QEMU guest agent is not enabled in instance {server_id}, or does not answer: its "
            "password can only be changed from within",
            code="no_agent",
        )
    sealed = seal(context.web().keys.current(), {"password": value["adminPass"]})
    user = ADMINISTRATOR.get(os_type.lower(), "root")
    return accept_kind(server_id, "changePassword", {"user": user, SEALED: sealed})


@register("forceDelete", "os_compute_api:os-deferred-delete:force", plain("forceDelete"))
def force_delete(server_id: str, value: Any) -> Response:
    """Delete a server; there is no other delete here."""
    return accept_kind(server_id, "delete")


@register("restore", "os_compute_api:os-deferred-delete:restore", plain("restore"), answers=())
def restore(server_id: str, value: Any) -> Response:
    """Restore a soft-deleted server: there are none, so this is 409."""
    with reading() as session:
        servers.check(session, context.caller(), server_id, RESTORE)
    raise Conflict(f"Instance {server_id} is not soft-deleted", code="wrong_state")
