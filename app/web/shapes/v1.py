"""Answers of Novella's own `/v1`, and what a process says of itself."""

from __future__ import annotations

from app.web.shapes.parts import (
    NUMBER,
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

# Tasks
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

# Images ahead of builds
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

# Placement
_REFUSED = named(WHOLE)
_WEIGHTS = named(NUMBER)
PLACEMENT = under(
    "placement",
    maybe(
        Record(
            {
                "refused": _REFUSED,
                "hosts": WHOLE,
                "host": sometimes(TEXT),
                "weights": sometimes(_WEIGHTS),
            },
            "Placement",
        )
    ),
)
_PICK = Record({"host": TEXT, "alternates": many(TEXT), "weights": _WEIGHTS})
DRY_RUN = under(
    "placement",
    Record(
        {
            **dict.fromkeys(("wanted", "fits", "hosts"), WHOLE),
            "refused": _REFUSED,
            "message": TEXT,
            "picks": sometimes(many(_PICK)),
        }
    ),
)
CAPACITY = under(
    "capacity", Record({"flavor": TEXT, "servers": WHOLE, "zones": named(WHOLE)}, "Capacity")
)

# Hosts
_STATES = ["up", "down", "reconciling", "driver_down", "forced_down"]
_ROOM = ("vcpus", "ram_mb", "disk_gb")
HOSTS = under(
    "hosts",
    many(
        Record(
            {
                **dict.fromkeys(("name", "zone", "address", "hypervisor"), TEXT),
                "state": {"enum": _STATES},
                "enabled": TRUTH,
                "disabled_reason": maybe(TEXT),
                "servers": WHOLE,
                **dict.fromkeys((*_ROOM, *(f"used_{what}" for what in _ROOM)), WHOLE),
                "seconds_since_seen": NUMBER,
            },
            "Host",
        )
    ),
)
JOIN_TOKEN = Record({"token": TEXT, "expires_at": TEXT})
STANDING = Record({"name": TEXT, "state": {"enum": [*_STATES, "absent"]}})


def joined(settings: tuple[str, ...]) -> Record:
    """What a machine that joins is told; of `settings` those that are not the default."""
    followed = dict.fromkeys(settings, sometimes(NUMBER))
    texts: dict[str, Part] = dict.fromkeys(("cloud_id", "broker_url", "result_url"), TEXT)
    return Record({**texts, "settings": Record(followed)})


# The process
ALIVE = Record({"status": {"const": "ok"}})
READY = Record(
    {
        "status": {"const": "ready"},
        "database": {"const": "ok"},
        "schema": {"const": "current"},
        "broker": Record({"ok": TRUTH, "age": maybe(NUMBER)}),
    }
)
_OBJECT = {"type": "object"}
DOCUMENT = Record(
    {
        "openapi": {"const": "3.1.0"},
        **dict.fromkeys(("info", "paths", "components"), _OBJECT),
        **dict.fromkeys(("servers", "security", "tags"), many(_OBJECT)),
    }
)
