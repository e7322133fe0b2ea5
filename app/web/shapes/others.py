"""Answers of Image, Identity, and Novella's own `/v1`."""

from __future__ import annotations

from app.web.shapes.parts import (
    EMPTY,
    NULL,
    TEXT,
    TRUTH,
    WHOLE,
    Part,
    Record,
    many,
    maybe,
    named,
    sometimes,
    under,
)

# Image
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

# Identity
_NAMED = Record({"id": TEXT, "name": TEXT})
_SELF = Record({"self": TEXT})
_ENDPOINT = Record(dict.fromkeys(("id", "interface", "region", "region_id", "url"), TEXT))
CATALOG = many(Record({"id": TEXT, "type": TEXT, "name": TEXT, "endpoints": many(_ENDPOINT)}))
ALL_SERVICES = under("catalog", CATALOG, links=_SELF)
TOKEN = under(
    "token",
    Record(
        {
            "methods": many(TEXT),
            "user": Record(
                {"id": TEXT, "name": TEXT, "domain": _NAMED, "password_expires_at": NULL}
            ),
            "audit_ids": many(TEXT),
            "issued_at": TEXT,
            "expires_at": TEXT,
            "application_credential": sometimes(
                Record({"id": TEXT, "name": TEXT, "restricted": TRUTH})
            ),
            "system": sometimes(Record({"all": TRUTH})),
            "project": sometimes(Record({"id": TEXT, "name": TEXT, "domain": _NAMED})),
            "is_domain": sometimes(TRUTH),
            "roles": sometimes(many(_NAMED)),
            "catalog": sometimes(CATALOG),
        },
        "Token",
    ),
)
_KEPT: dict[str, Part] = {
    "id": TEXT,
    "name": TEXT,
    "description": TEXT,
    "options": Record({}),
    "links": _SELF,
}
PROJECT = Record(
    {
        **_KEPT,
        "domain_id": TEXT,
        "enabled": TRUTH,
        "is_domain": TRUTH,
        "parent_id": TEXT,
        "tags": EMPTY,
    },
    "Project",
)
USER = Record(
    {
        **_KEPT,
        "domain_id": TEXT,
        "email": maybe(TEXT),
        "default_project_id": maybe(TEXT),
        "enabled": TRUTH,
        "password_expires_at": NULL,
    },
    "User",
)
ROLE = Record({**_KEPT, "domain_id": NULL}, "Role")


def listed(name: str, part: Part) -> Record:
    """A list in Identity, with its links."""
    links = Record({"self": TEXT, "previous": NULL, "next": maybe(TEXT)})
    return under(name, many(part), links=links)


# /v1
_FAULT = Record(
    {
        "code": TEXT,
        "message": TEXT,
        "retriable": sometimes(TRUTH),
        "stage": sometimes(maybe(TEXT)),
        "host": sometimes(maybe(TEXT)),
        "todo": sometimes(TEXT),
        "details": sometimes(TEXT),
    },
    "Fault",
)
_STEP = Record(
    {
        "name": TEXT,
        "direction": {"enum": ["do", "undo"]},
        "host": maybe(TEXT),
        "started_at": maybe(TEXT),
        "finished_at": maybe(TEXT),
        "result": maybe(TEXT),
        "fault": sometimes(maybe(_FAULT)),
    }
)
TASK = Record(
    {
        **dict.fromkeys(("id", "kind", "server_id", "project_id", "user_id", "request_id"), TEXT),
        "state": {"enum": ["queued", "running", "succeeded", "failed", "cancelled"]},
        "stage": TEXT,
        "direction": {"enum": ["do", "undo"]},
        "tries": WHOLE,
        "host": maybe(TEXT),
        "progress": WHOLE,
        "message": maybe(TEXT),
        "steps": many(_STEP),
        "fault": maybe(_FAULT),
        "created_at": TEXT,
        "started_at": maybe(TEXT),
        "finished_at": maybe(TEXT),
        "links": Record({"self": TEXT, "server": TEXT, "events": TEXT}),
    },
    "Task",
)
TASKS = under("tasks", many(TASK), links=named(TEXT))
PRECACHES = under(
    "images",
    many(
        Record(
            {
                "image_id": TEXT,
                "host": TEXT,
                "state": {"enum": ["waiting", "cached", "failed", "skipped"]},
                "progress": WHOLE,
                "message": TEXT,
                "fault": maybe(_FAULT),
                "request_id": TEXT,
                "requested_at": TEXT,
                "finished_at": maybe(TEXT),
            }
        )
    ),
)
