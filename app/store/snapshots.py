"""Images made of servers: their rows, from the request to the data, and backups' rotation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from app.domain.caller import Caller
from app.models import Action, Image, Server, new_id, now
from app.store import images, plans, server_locks, servers
from app.store.database import changed

_NOT_INHERITED = ("cache_in_nova", "bittorrent", "os_glance_", "img_signature", "owner_specified.")


@dataclass(frozen=True)
class WantedImage:
    """What a request wants made of a server. A backup has a type, and how many are kept."""

    name: str
    metadata: Mapping[str, str] = field(default_factory=dict)
    backup_type: str | None = None
    rotation: int = 0

    @property
    def kind(self) -> str:
        """The request's kind."""
        return "createImage" if self.backup_type is None else "createBackup"


def make(
    session: Session, caller: Caller, server_id: str, wanted: WantedImage
) -> tuple[Action, Image]:
    """Accept it: an image in `saving` whose data its server's host will send.

    The image belongs to the caller's project. Raises NotFound and Conflict.
    """
    action = servers.request(session, caller, server_id, wanted.kind, {})
    server = session.get_one(Server, server_id)
    image = Image(
        id=new_id(),
        name=wanted.name,
        owner=caller.project_id,
        status=images.SAVING,
        visibility="private",
        disk_format="qcow2",
        container_format="bare",
        properties=_properties(session, caller, server, wanted),
    )
    base = plans.image_of(session, server)
    image.min_ram = base.min_ram if base is not None else 0
    image.min_disk = max(server.disk_gb, base.min_disk if base is not None else 0)
    image.file_name = f"{image.id}.{server.fence}"
    images.add(session, image)
    action.args = {
        "made_image": image.id,
        "file_name": image.file_name,
        "backup_type": wanted.backup_type,
        "rotation": wanted.rotation,
    }
    session.flush()
    return action, image


def keep_none(session: Session, caller: Caller, server_id: str, backup_type: str) -> Action:
    """Accept a backup of which none is to be kept: it need not be made. Raises as `make`."""
    server = servers.hold(session, caller, server_id)
    servers.check(session, caller, server_id, servers.KINDS["createBackup"])
    rotate(session, server_id, backup_type, 0, caller.project_id)
    return server_locks.ended(session, caller, server, "createBackup")


def finished(session: Session, action: Action, found: Mapping[str, Any]) -> bool:
    """The image's data is in the store: it is active, unless somebody deleted it meanwhile."""
    image_id, name = action.args["made_image"], action.args["file_name"]
    mine = (Image.id == image_id, Image.status == images.SAVING, Image.file_name == name)
    made = changed(
        session,
        update(Image)
        .where(*mine)
        .values(
            status=images.ACTIVE,
            size=int(found["size"]),
            virtual_size=int(found["virtual_size"]),
            checksum=str(found["md5"]),
            hash_algorithm="sha512",
            hash_value=str(found["sha512"]),
        )
        .execution_options(synchronize_session=False),
    )
    if made and (backup_type := action.args.get("backup_type")):
        owner = session.get_one(Image, image_id).owner
        rotate(session, action.server_id, backup_type, action.args["rotation"], owner)
    return made == 1


def rotate(session: Session, server_id: str, backup_type: str, keep: int, owner: str) -> None:
    """Delete the server's oldest backups of that type, but for `keep` of them.

    Only those of the project `owner`: what another says of its images is no reason to delete any.
    Their files go with the next upload: only web has the image store.
    """
    backups = session.scalars(
        select(Image)
        .where(
            Image.status.in_((images.ACTIVE, images.DEACTIVATED)),
            Image.owner == owner,
            Image.protected.is_(False),
            Image.properties["image_type"].as_string() == "backup",
            Image.properties["instance_uuid"].as_string() == server_id,
            Image.properties["backup_type"].as_string() == backup_type,
        )
        .order_by(Image.created_at.desc(), Image.id)
        .with_for_update()
    ).all()
    for image in backups[keep:]:
        image.status, image.deleted_at = images.DELETED, now()
    session.flush()


def _properties(
    session: Session, caller: Caller, server: Server, wanted: WantedImage
) -> dict[str, Any]:
    """Nova's: those of the server's image, what the new one is and of whom, the caller's own.

    The caller's own win, but for those that a rotation goes by: these are always true.
    """
    base = plans.image_of(session, server)
    inherited = {
        name: value
        for name, value in (base.properties if base is not None else {}).items()
        if not name.startswith(_NOT_INHERITED)
    }
    told = {
        "image_type": "snapshot" if wanted.backup_type is None else "backup",
        "image_location": "snapshot",
        "image_state": "available",
        "instance_uuid": server.id,
        "base_image_ref": server.image_id or "",
        "user_id": caller.user_id,
        "owner_id": caller.project_id,
    }
    true = {"instance_uuid": server.id}
    if wanted.backup_type is not None:
        true |= {"image_type": "backup", "backup_type": wanted.backup_type}
    elif wanted.metadata.get("image_type") == "backup":
        true |= {"image_type": "snapshot"}
    return {**inherited, **told, **wanted.metadata, **true}
