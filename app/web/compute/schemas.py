"""Bodies of Compute requests."""

from __future__ import annotations

from app.web.body import BOOLEAN, METADATA, NAME, UUID, Json, Schema, integer, only

_TEXT: Json = {"type": "string", "maxLength": 255}
_NULL: Json = {"type": "null"}
_UUID_OR_EMPTY: Json = {"anyOf": [UUID, {"type": "string", "maxLength": 0}]}
_USER_DATA: Json = {"anyOf": [{"type": "string", "maxLength": 65535}, _NULL]}
_HINTS: Json = {"type": "object"}

KEYPAIR = Schema(
    "NewKeypair",
    only(
        {
            "keypair": only(
                {
                    "name": {
                        "type": "string",
                        "minLength": 1,
                        "maxLength": 255,
                        "pattern": r"^[A-Za-z0-9 _@.-]*[A-Za-z0-9_@.-]$",
                    }
                },
                {
                    "public_key": {"type": "string", "minLength": 1, "maxLength": 16384},
                    "type": _TEXT,
                    "user_id": _TEXT,
                },
            )
        }
    ),
)

_NETWORK: Json = {
    "type": "object",
    "properties": {
        "uuid": UUID,
        "fixed_ip": {"type": "string", "format": "ipv4", "maxLength": 45},
        "port": {"anyOf": [UUID, _NULL]},
        "tag": _TEXT,
    },
    "additionalProperties": False,
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
        "device_type": _TEXT,
        "disk_bus": _TEXT,
        "guest_format": _TEXT,
        "volume_size": {"anyOf": [integer(1), {"type": "string", "maxLength": 0}]},
        "no_device": {},
        "tag": _TEXT,
    },
    "additionalProperties": False,
}
_SERVER: dict[str, Json] = {
    "imageRef": _UUID_OR_EMPTY,
    "min_count": integer(1),
    "max_count": integer(1),
    "networks": {"type": "array", "items": _NETWORK, "maxItems": 16},
    "block_device_mapping_v2": {"type": "array", "items": _BLOCK_DEVICE, "maxItems": 16},
    "key_name": NAME,
    "user_data": _USER_DATA,
    "metadata": METADATA,
    "config_drive": {"anyOf": [BOOLEAN, {"type": "string", "maxLength": 0}, _NULL]},
    "availability_zone": NAME,
    "return_reservation_id": BOOLEAN,
    "OS-DCF:diskConfig": {"enum": ["AUTO", "MANUAL"]},
    "accessIPv4": {"type": "string", "maxLength": 15},
    "accessIPv6": {"type": "string", "maxLength": 45},
    "adminPass": {"type": "string", "maxLength": 255},
    "security_groups": {
        "type": "array",
        "items": only({}, {"name": {"type": "string", "minLength": 1, "maxLength": 255}}),
    },
    "OS-SCH-HNT:scheduler_hints": _HINTS,
    "os:scheduler_hints": _HINTS,
}


def server(version: tuple[int, int]) -> Schema:
    """The body of a create at this microversion."""
    return SERVERS[1] if version >= (2, 19) else SERVERS[0]


def _server(extra: dict[str, Json]) -> Json:
    hints = {"OS-SCH-HNT:scheduler_hints": _HINTS, "os:scheduler_hints": _HINTS}
    required = {"name": NAME, "flavorRef": {"anyOf": [_TEXT, integer(0)]}}
    return only({"server": only(required, {**_SERVER, **extra})}, hints)


SERVERS = (
    Schema("NewServer", _server({})),
    Schema(
        "NewServer2.19",
        _server({"description": {"anyOf": [{**_TEXT, "pattern": r"^[^\x00-\x08]*$"}, _NULL]}}),
    ),
)

REBOOT = Schema(
    "Reboot",
    only({"reboot": only({"type": {"enum": ["SOFT", "HARD", "Soft", "Hard", "soft", "hard"]}})}),
)
START = Schema("Start", only({"os-start": {}}))
STOP = Schema("Stop", only({"os-stop": {}}))
CONSOLE = Schema(
    "ConsoleOutput",
    only(
        {
            "os-getConsoleOutput": only(
                {}, {"length": {"anyOf": [integer(0), {"enum": [-1, "-1", None]}]}}
            )
        }
    ),
)
ACTION = Schema("ServerAction", {"type": "object", "minProperties": 1, "maxProperties": 1})
