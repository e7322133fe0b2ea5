"""Bodies of Image requests."""

from __future__ import annotations

from app.errors import Forbidden
from app.web.body import UUID, Schema, only

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
IMPORT_METHODS = ("glance-direct",)
READ_ONLY = frozenset(
    {
        "id",
        "status",
        "size",
        "virtual_size",
        "checksum",
        "os_hash_algo",
        "os_hash_value",
        "created_at",
        "updated_at",
        "deleted",
        "deleted_at",
        "file",
        "self",
        "schema",
        "direct_url",
        "location",
        "locations",
    }
)
"""What the cloud alone decides; an id can be chosen once, at the beginning."""
RESERVED = "os_glance_"

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
OURS = frozenset(IMAGE.schema["properties"])
"""All other properties are custom."""

PATCH = Schema(
    "ImagePatch",
    {
        "type": "array",
        "maxItems": 1000,
        "items": {
            "type": "object",
            "properties": {
                "op": {"enum": ["add", "replace", "remove"]},
                "path": {"type": "string", "pattern": "^/", "maxLength": 600},
                "value": {},
            },
            "required": ["op", "path"],
        },
    },
)
OLD_PATCH = Schema(
    "OldImagePatch",
    {
        "type": "array",
        "maxItems": 1000,
        "items": {
            "type": "object",
            "properties": {
                name: {"type": "string", "pattern": "^/", "maxLength": 600}
                for name in ("add", "replace", "remove")
            },
            "minProperties": 1,
            "maxProperties": 2,
        },
    },
)
IMPORT = Schema(
    "ImageImport",
    only(
        {"method": only({"name": {"enum": [*IMPORT_METHODS]}})},
        {"all_stores": {"type": "boolean"}, "all_stores_must_succeed": {"type": "boolean"}},
    ),
)
MEMBER = Schema(
    "NewImageMember", only({"member": {"type": "string", "minLength": 1, "maxLength": 64}})
)
MEMBER_STATUS = Schema(
    "ImageMemberStatus", only({"status": {"enum": ["pending", "accepted", "rejected"]}})
)


def check_writable(name: str, *, new: bool = False) -> None:
    """Raise Forbidden for an attribute that only the cloud sets; `new` images may bring an id."""
    if name in READ_ONLY and not (new and name == "id"):
        raise Forbidden(f"Attribute '{name}' is read-only.")
    if name.startswith(RESERVED):
        raise Forbidden(f"Attribute '{name}' is reserved.")
