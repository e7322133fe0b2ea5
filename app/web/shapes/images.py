"""Image's answers."""

from __future__ import annotations

from collections.abc import Iterable

from app.web.shapes.parts import (
    EMPTY,
    LINKS,
    TEXT,
    TRUTH,
    WHOLE,
    Part,
    Record,
    many,
    maybe,
    sometimes,
    under,
)

IMAGE = Record(
    {
        "id": TEXT,
        "name": maybe(TEXT),
        "status": TEXT,
        "visibility": {"enum": ["public", "private", "shared", "community"]},
        "protected": TRUTH,
        "os_hidden": TRUTH,
        "owner": TEXT,
        "disk_format": maybe(TEXT),
        "container_format": maybe(TEXT),
        "min_disk": WHOLE,
        "min_ram": WHOLE,
        **dict.fromkeys(("size", "virtual_size"), maybe(WHOLE)),
        **dict.fromkeys(("checksum", "os_hash_algo", "os_hash_value"), maybe(TEXT)),
        "tags": many(TEXT),
        **dict.fromkeys(("created_at", "updated_at", "self", "file", "schema"), TEXT),
    },
    "Image",
    rest=TEXT,
)
IMAGES = under("images", many(IMAGE), first=TEXT, schema=TEXT, next=sometimes(TEXT))

MEMBER = Record(
    {
        "image_id": TEXT,
        "member_id": TEXT,
        "status": {"enum": ["pending", "accepted", "rejected"]},
        **dict.fromkeys(("created_at", "updated_at", "schema"), TEXT),
    },
    "ImageMember",
)
MEMBERS = under("members", many(MEMBER), schema=TEXT)

_METHODS = Record({"description": TEXT, "type": {"const": "array"}, "value": many(TEXT)})
IMPORT_METHODS = under("import-methods", _METHODS)
TASKS = under("tasks", EMPTY)

_VERSION = Record({"id": TEXT, "status": {"enum": ["CURRENT", "SUPPORTED"]}, "links": LINKS})
VERSIONS = under("versions", many(_VERSION))


_OBJECT = {"type": "object"}


def _schema(name: str, properties: Iterable[str], **more: Part) -> Record:
    """A document with a schema for each property of what is called `name`."""
    described = Record(dict.fromkeys(properties, _OBJECT))
    return Record({"name": {"const": name}, "properties": described, **more})


IMAGE_SCHEMA = _schema("image", IMAGE.fields, additionalProperties=_OBJECT, links=LINKS)
IMAGES_SCHEMA = _schema("images", IMAGES.fields, links=LINKS)
MEMBER_SCHEMA = _schema("member", MEMBER.fields)
MEMBERS_SCHEMA = _schema("members", MEMBERS.fields, links=LINKS)
