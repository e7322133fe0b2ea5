"""Server actions that make images of servers: createImage and createBackup."""

from __future__ import annotations

from typing import Any

import orjson
from flask import Response
from sqlalchemy.orm import Session

from app.store import server_metadata, snapshots
from app.store.snapshots import WantedImage
from app.web import context
from app.web.accepting import Accepted, accept
from app.web.compute import schemas
from app.web.compute.actions import register


@register("createImage", "os_compute_api:servers:create_image", schemas.CREATE_IMAGE)
def create_image(server_id: str, value: Any) -> Response:
    """Make an image of a server's disk as it is now; the server goes on meanwhile."""
    return _make(server_id, WantedImage(value["name"].strip(), value.get("metadata", {})))


@register("createBackup", "os_compute_api:os-create-backup", schemas.CREATE_BACKUP)
def create_backup(server_id: str, value: Any) -> Response:
    """Make an image of a server's disk, and keep as many of its type as `rotation` says."""
    wanted = WantedImage(
        value["name"].strip(),
        value.get("metadata", {}),
        value["backup_type"],
        int(value["rotation"]),
    )
    if wanted.rotation:
        return _make(server_id, wanted)

    def work(session: Session) -> Accepted:
        caller = context.caller()
        return Accepted([snapshots.keep_none(session, caller, server_id, value["backup_type"])])

    return accept(work)


def _make(server_id: str, wanted: WantedImage) -> Response:
    """The answer tells the image: from 2.45 in its body, before in a header."""

    def work(session: Session) -> Accepted:
        caller = context.caller()
        server_metadata.check_quota(session, caller.project_id, len(wanted.metadata))
        action, image = snapshots.make(session, caller, server_id, wanted)
        if context.version() >= (2, 45):
            return Accepted([action], 202, orjson.dumps({"image_id": image.id}))
        location = f"{context.base_url()}/image/v2/images/{image.id}"
        return Accepted([action], 202, headers={"Location": location})

    return accept(work)
