"""Images as clients see them."""

from __future__ import annotations

from typing import Any

from app.models import Image
from app.web.times import seconds


def image(row: Image) -> dict[str, Any]:
    """An image; custom properties stand among the others."""
    here = f"/v2/images/{row.id}"
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
        "size": row.size,
        "virtual_size": row.virtual_size,
        "checksum": row.checksum,
        "os_hash_algo": row.hash_algorithm,
        "os_hash_value": row.hash_value,
        "tags": row.tags,
        "created_at": seconds(row.created_at),
        "updated_at": seconds(row.updated_at),
        "self": here,
        "file": f"{here}/file",
        "schema": "/v2/schemas/image",
    }
