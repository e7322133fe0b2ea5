"""Parameters of operations: those in the path, those that `ns.doc` tells of, and the usual ones."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from app.web.microversions import MAX, NEW, shown
from app.web.query import PAGE_LIMIT

Json = dict[str, Any]

MICROVERSION: Json = {
    "name": NEW,
    "in": "header",
    "description": "The microversion to be spoken, 2.1 unless given. The bodies in this document "
    f"are those of {shown(MAX)}; of what has gone before that, those of its last version.",
    "schema": {
        "type": "string",
        "pattern": "^compute (2\\.([1-9]|[1-9][0-9]|10[0-4])|latest)$",
        "examples": [f"compute {shown(MAX)}"],
    },
}
IDEMPOTENCY: Json = {
    "name": "Idempotency-Key",
    "in": "header",
    "description": "Makes repeats safe: the same key gets the same answer for 24 hours.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 255},
}
COMMON = {"Microversion": MICROVERSION, "IdempotencyKey": IDEMPOTENCY}
_TRUTH: Json = {"type": "boolean"}
_WHOLE: Json = {"type": "integer", "minimum": 0, "maximum": 2**31 - 1}
_TIME: Json = {"type": "string", "format": "date-time"}
_SCHEMAS: Mapping[str, Json] = {
    **dict.fromkeys(
        ("admin_state_up", "all_projects", "all_tenants", "deleted", "enable_dhcp", "enabled"),
        _TRUTH,
    ),
    **dict.fromkeys(("is_default", "locked", "port_security_enabled"), _TRUTH),
    **dict.fromkeys(("router:external", "shared", "with_servers"), _TRUTH),
    **dict.fromkeys(("minDisk", "minRam", "mtu", "offset"), _WHOLE),
    **dict.fromkeys(("changes-before", "changes-since", "since"), _TIME),
    "detailed": {"enum": ["0", "1"]},
    "limit": {"type": "integer", "minimum": 0, "maximum": PAGE_LIMIT},
    "port_range_max": {"type": "integer", "minimum": 0, "maximum": 65535},
    "port_range_min": {"type": "integer", "minimum": 0, "maximum": 65535},
    "sort_dir": {"enum": ["asc", "desc"]},
    "wait": {"type": "integer", "minimum": 0, "maximum": 60},
}


def in_path(path: str) -> Iterator[Json]:
    """The parameters of a Flask rule, which all are segments of it."""
    for name in re.findall(r"<(?:\w+:)?(\w+)>", path):
        segment = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[^/]+$"}
        yield {"name": name, "in": "path", "required": True, "schema": segment}


def documented(params: Mapping[str, Any]) -> Iterator[Json]:
    """Those that `ns.doc(params=...)` tells of, but for what is common to many routes."""
    for name, about in params.items():
        told = {"description": about} if isinstance(about, str) else dict(about)
        if name == IDEMPOTENCY["name"]:
            continue
        yield {
            "name": name,
            "in": told.get("in", "query"),
            "description": told.get("description", ""),
            "schema": _SCHEMAS.get(name, {"type": "string"}),
        }


def common(service: str, takes_key: bool) -> Iterator[Json]:
    """References to the parameters that the operation has in common with its kind."""
    if service == "compute":
        yield {"$ref": "#/components/parameters/Microversion"}
    if takes_key:
        yield {"$ref": "#/components/parameters/IdempotencyKey"}
