"""Bodies of the requests about servers."""

from __future__ import annotations

import functools
from typing import Any

from app.web.body import BOOLEAN, METADATA, NAME, UUID, Json, Schema, integer, only

Version = tuple[int, int]
_TEXT: Json = {"type": "string", "maxLength": 255}
_NULL: Json = {"type": "null"}
_EMPTY: Json = {"type": "string", "maxLength": 0}
_USER_DATA: Json = {"anyOf": [{"type": "string", "maxLength": 65535}, _NULL]}
_DISK_CONFIG: Json = {"enum": ["AUTO", "MANUAL"]}
_DESCRIPTION: Json = {
    "anyOf": [{**_TEXT, "pattern": r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z"}, _NULL]
}
_HOSTNAME: Json = {
    "type": "string",
    "minLength": 2,
    "maxLength": 63,
    "pattern": r"^[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]\Z",
}
_FQDN: Json = {
    "type": "string",
    "minLength": 2,
    "maxLength": 255,
    "pattern": r"^[a-zA-Z0-9][a-zA-Z0-9.-]*[a-zA-Z0-9]\Z",
}
TAG: Json = {"type": "string", "minLength": 1, "maxLength": 60, "pattern": r"^[^,/]*\Z"}
_TAGS: Json = {"type": "array", "items": TAG, "maxItems": 50}
_IDS: Json = {"anyOf": [UUID, {"type": "array", "items": UUID}]}
_HINTS: Json = {
    "type": "object",
    "properties": {
        "group": UUID,
        "same_host": _IDS,
        "different_host": _IDS,
        "query": {"type": ["string", "object", "array"]},
        "target_cell": {"type": "string"},
        "different_cell": {"type": ["string", "array"], "items": {"type": "string"}},
        "build_near_host_ip": {"type": "string", "pattern": r"^[0-9a-fA-F.:]{2,45}\Z"},
        "cidr": {"type": "string", "pattern": r"^/[0-9a-f.:]+\Z"},
    },
}


# Creating

_NETWORK: Json = {
    "type": "object",
    "properties": {
        "uuid": {"anyOf": [UUID, _NULL]},
        "fixed_ip": {"type": "string", "maxLength": 45},
        "port": {"anyOf": [UUID, _NULL]},
    },
    "additionalProperties": False,
}
_NETWORKS: Json = {"type": "array", "items": _NETWORK, "maxItems": 16}
_TAGGED_NETWORKS: Json = {
    **_NETWORKS,
    "items": {**_NETWORK, "properties": {**_NETWORK["properties"], "tag": TAG}},
}
_BLOCK_DEVICE: Json = {
    "type": "object",
    "properties": {
        "uuid": UUID,
        "source_type": {"enum": ["image", "volume", "snapshot", "blank"]},
        "destination_type": {"enum": ["local", "volume"]},
        "boot_index": {"anyOf": [integer(0, 255), {"enum": [-1, "-1", None]}]},
        "delete_on_termination": BOOLEAN,
        "device_name": {"anyOf": [_TEXT, _NULL]},
        "device_type": {"anyOf": [_TEXT, _NULL]},
        "disk_bus": {"anyOf": [_TEXT, _NULL]},
        "guest_format": {"anyOf": [_TEXT, _NULL]},
        "volume_size": {"anyOf": [integer(1), _EMPTY, _NULL]},
        "no_device": {},
    },
    "additionalProperties": False,
}
PERSONALITY: Json = {
    "type": "array",
    "maxItems": 1000,
    "items": only(
        {
            "path": {"type": "string", "minLength": 1, "maxLength": 4096},
            "contents": {"type": "string", "maxLength": 114688},
        }
    ),
}
"""Files to put into the guest: paths, and contents in base64."""
_SERVER: dict[str, Json] = {
    "imageRef": {"anyOf": [UUID, _EMPTY]},
    "min_count": integer(1),
    "max_count": integer(1),
    "networks": _NETWORKS,
    "block_device_mapping_v2": {"type": "array", "items": _BLOCK_DEVICE, "maxItems": 16},
    "key_name": NAME,
    "user_data": _USER_DATA,
    "metadata": METADATA,
    "config_drive": {"anyOf": [BOOLEAN, _EMPTY, _NULL]},
    "availability_zone": NAME,
    "return_reservation_id": BOOLEAN,
    "OS-DCF:diskConfig": _DISK_CONFIG,
    "accessIPv4": {"type": "string", "maxLength": 15},
    "accessIPv6": {"type": "string", "maxLength": 45},
    "adminPass": {"type": "string", "maxLength": 255},
    "security_groups": {
        "type": "array",
        "items": only({}, {"name": {"type": "string", "minLength": 1, "maxLength": 255}}),
    },
}
_SERVER_SINCE: tuple[tuple[Version, dict[str, Json]], ...] = (
    ((2, 1), {"personality": PERSONALITY}),
    ((2, 19), {"description": _DESCRIPTION}),
    ((2, 32), {"networks": _TAGGED_NETWORKS}),
    ((2, 37), {"networks": {"anyOf": [_NETWORKS, {"enum": ["auto", "none"]}]}}),
    ((2, 42), {"networks": {"anyOf": [_TAGGED_NETWORKS, {"enum": ["auto", "none"]}]}}),
    ((2, 52), {"tags": _TAGS}),
    ((2, 57), {}),
    ((2, 63), {"trusted_image_certificates": {"type": ["array", "null"]}}),
    ((2, 74), {"host": NAME, "hypervisor_hostname": NAME}),
    ((2, 90), {"hostname": _HOSTNAME}),
    ((2, 94), {"hostname": _FQDN}),
)


def server(version: Version) -> Schema:
    """The body of a create at this microversion."""
    return _server(max(since for since, _ in _SERVER_SINCE if since <= version))


@functools.cache
def _server(version: Version) -> Schema:
    required: dict[str, Json] = {"name": NAME, "flavorRef": {"anyOf": [_TEXT, integer(0)]}}
    optional = dict(_SERVER)
    for since, more in _SERVER_SINCE:
        optional |= more if since <= version else {}
    if version >= (2, 37):
        required["networks"] = optional.pop("networks")
    if version >= (2, 57):
        optional.pop("personality")
    hints = {"OS-SCH-HNT:scheduler_hints": _HINTS, "os:scheduler_hints": _HINTS}
    shape = only({"server": only(required, optional)}, hints)
    return Schema(f"NewServer{version[0]}.{version[1]}", shape)


# Changing

_CHANGES: dict[str, Json] = {
    "name": NAME,
    "OS-DCF:diskConfig": _DISK_CONFIG,
    "accessIPv4": {"type": "string", "maxLength": 15},
    "accessIPv6": {"type": "string", "maxLength": 45},
}
_CHANGE_SINCE: tuple[tuple[Version, dict[str, Json]], ...] = (
    ((2, 1), {}),
    ((2, 19), {"description": _DESCRIPTION}),
    ((2, 90), {"hostname": _HOSTNAME}),
    ((2, 94), {"hostname": _FQDN}),
    ((2, 104), {"pinned_availability_zone": {"anyOf": [NAME, _NULL]}}),
)


def server_change(version: Version) -> Schema:
    """The body of a change at this microversion."""
    return _server_change(max(since for since, _ in _CHANGE_SINCE if since <= version))


@functools.cache
def _server_change(version: Version) -> Schema:
    allowed: dict[str, Any] = dict(_CHANGES)
    for since, more in _CHANGE_SINCE:
        allowed |= more if since <= version else {}
    return Schema(f"ServerChange{version[0]}.{version[1]}", only({"server": only({}, allowed)}))


_REBUILD: dict[str, Json] = {
    **_CHANGES,
    "metadata": METADATA,
    "adminPass": {"type": "string", "maxLength": 255},
    "preserve_ephemeral": BOOLEAN,
}
_REBUILD_SINCE: tuple[tuple[Version, dict[str, Json]], ...] = (
    ((2, 1), {"personality": PERSONALITY}),
    ((2, 19), {"description": _DESCRIPTION}),
    ((2, 54), {"key_name": {"anyOf": [NAME, _NULL]}}),
    ((2, 57), {"user_data": _USER_DATA}),
    ((2, 63), {"trusted_image_certificates": {"type": ["array", "null"]}}),
    ((2, 90), {"hostname": _HOSTNAME}),
    ((2, 94), {"hostname": _FQDN}),
)


def rebuild(version: Version) -> Schema:
    """The body of a rebuild at this microversion."""
    return _rebuild(max(since for since, _ in _REBUILD_SINCE if since <= version))


@functools.cache
def _rebuild(version: Version) -> Schema:
    optional = dict(_REBUILD)
    for since, more in _REBUILD_SINCE:
        optional |= more if since <= version else {}
    if version >= (2, 57):
        optional.pop("personality")
    name = f"rebuild{version[0]}.{version[1]}"
    return Schema(name, only({"rebuild": only({"imageRef": UUID}, optional)}))


def _interface(name: str, more: dict[str, Json]) -> Schema:
    ips = {"type": "array", "maxItems": 1, "items": only({"ip_address": _ADDRESS})}
    value = only({}, {"net_id": UUID, "port_id": UUID, "fixed_ips": ips, **more})
    return Schema(name, only({}, {"interfaceAttachment": value}))


_ADDRESS: Json = {"type": "string", "maxLength": 45}
_INTERFACE = _interface("interfaceAttachment", {})
INTERFACE = _interface("interfaceAttachment2.49", {"tag": TAG})


def interface(version: Version) -> Schema:
    """The body of an attachment: from 2.49 it may have a tag."""
    return INTERFACE if version >= (2, 49) else _INTERFACE


CREATE_IMAGE = Schema(
    "createImage", only({"createImage": only({"name": NAME}, {"metadata": METADATA})})
)
CREATE_BACKUP = Schema(
    "createBackup",
    only(
        {
            "createBackup": only(
                {"name": NAME, "backup_type": _TEXT, "rotation": integer(0)},
                {"metadata": METADATA},
            )
        }
    ),
)
RESCUE = Schema(
    "rescue",
    only(
        {
            "rescue": {
                "anyOf": [
                    only({}, {"adminPass": _TEXT, "rescue_image_ref": UUID}),
                    _NULL,
                ]
            }
        }
    ),
)
METADATA_ITEMS = Schema("ServerMetadata", only({"metadata": METADATA}))
METADATA_ITEM = Schema(
    "ServerMetadataItem", only({"meta": {**METADATA, "minProperties": 1, "maxProperties": 1}})
)
TAGS = Schema("ServerTags", only({"tags": _TAGS}))
ONE_TAG = Schema("ServerTag", TAG)


# Actions


def plain(name: str) -> Schema:
    """An action without arguments: whatever is its value does not count, as in Nova."""
    return Schema(name, only({name: {}}))


START = plain("os-start")
STOP = plain("os-stop")
UNLOCK = plain("unlock")
REBOOT = Schema(
    "reboot",
    only({"reboot": only({"type": {"enum": ["SOFT", "HARD", "Soft", "Hard", "soft", "hard"]}})}),
)
_LOCK = plain("lock")
_LOCK_2_73 = Schema(
    "lock2.73",
    only(
        {
            "lock": {
                "anyOf": [_NULL, only({}, {"locked_reason": {**_TEXT, "minLength": 1}})],
            }
        }
    ),
)


def lock(version: Version) -> Schema:
    """The body of a lock: from 2.73 it may give a reason."""
    return _LOCK_2_73 if version >= (2, 73) else _LOCK


RESET_STATE = Schema(
    "os-resetState", only({"os-resetState": only({"state": {"enum": ["active", "error"]}})})
)
CRASH_DUMP = Schema("trigger_crash_dump", only({"trigger_crash_dump": _NULL}))
CHANGE_PASSWORD = Schema("changePassword", only({"changePassword": only({"adminPass": _TEXT})}))
CONSOLE = Schema(
    "os-getConsoleOutput",
    only(
        {
            "os-getConsoleOutput": only(
                {}, {"length": {"anyOf": [integer(0), {"enum": [-1, "-1", None]}]}}
            )
        }
    ),
)
ACTION = Schema("ServerAction", {"type": "object", "minProperties": 1, "maxProperties": 1})
