"""Images as clients see them."""

from __future__ import annotations

from typing import Any

from app.models import Image, ImageMember
from app.store.images import QUEUED, SAVING, UPLOADING
from app.web.times import seconds


def image(row: Image) -> dict[str, Any]:
    """An image; custom properties stand among the others."""
    here = f"/v2/images/{row.id}"
    there = row.status not in (QUEUED, SAVING, UPLOADING)  # what is staged is not the data yet
    return {
        **row.properties,
        "id": row.id,
        "name": row.name,
        "status": row.status,
        "visibility": row.visibility,
        "protected": row.protected,
        "os_hidden": row.hidden,
        "owner": row.owner,
        "disk_format": row.disk_format,
        "container_format": row.container_format,
        "min_disk": row.min_disk,
        "min_ram": row.min_ram,
        "size": row.size if there else None,
        "virtual_size": row.virtual_size if there else None,
        "checksum": row.checksum if there else None,
        "os_hash_algo": row.hash_algorithm if there else None,
        "os_hash_value": row.hash_value if there else None,
        "tags": row.tags,
        "created_at": seconds(row.created_at),
        "updated_at": seconds(row.updated_at),
        "self": here,
        "file": f"{here}/file",
        "schema": "/v2/schemas/image",
    }


def member(row: ImageMember) -> dict[str, Any]:
    """A project that an image is shared with."""
    return {
        "image_id": row.image_id,
        "member_id": row.project_id,
        "status": row.status,
        "created_at": seconds(row.created_at),
        "updated_at": seconds(row.updated_at),
        "schema": "/v2/schemas/member",
    }
