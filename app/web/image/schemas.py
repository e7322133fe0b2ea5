"""Bodies of Image requests."""

from __future__ import annotations

from app.web.body import UUID, Schema

DISK_FORMATS = (
    "ami",
    "ari",
    "aki",
    "vhd",
    "vhdx",
    "vmdk",
    "raw",
    "qcow2",
    "vdi",
    "iso",
    "ploop",
)
CONTAINER_FORMATS = ("ami", "ari", "aki", "bare", "ovf", "ova", "docker", "compressed")
READ_ONLY = frozenset(
    {
        "status",
        "size",
        "virtual_size",
        "checksum",
        "os_hash_algo",
        "os_hash_value",
        "created_at",
        "updated_at",
        "deleted_at",
        "file",
        "self",
        "schema",
        "direct_url",
        "locations",
    }
)

IMAGE = Schema(
    "NewImage",
    {
        "type": "object",
        "properties": {
            "id": UUID,
            "name": {"type": ["string", "null"], "maxLength": 255},
            "disk_format": {"enum": [*DISK_FORMATS, None]},
            "container_format": {"enum": [*CONTAINER_FORMATS, None]},
            "visibility": {"enum": ["public", "private", "shared", "community"]},
            "protected": {"type": "boolean"},
            "os_hidden": {"type": "boolean"},
            "min_disk": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
            "min_ram": {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
            "owner": {"type": "string", "minLength": 1, "maxLength": 64},
            "tags": {
                "type": "array",
                "items": {"type": "string", "maxLength": 255},
                "uniqueItems": True,
                "maxItems": 128,
            },
        },
        "propertyNames": {"minLength": 1, "maxLength": 255},
        "additionalProperties": {"type": "string", "maxLength": 65535},
        "maxProperties": 140,
    },
)
