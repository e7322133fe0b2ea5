"""Bodies of the requests about flavors, keys, quotas and services."""

from __future__ import annotations

from typing import Any

from app.store.quotas import INJECTED, NETWORK, RESOURCES
from app.web.body import BOOLEAN, Json, Schema, integer, only

Version = tuple[int, int]
_TEXT: Json = {"type": "string", "minLength": 1, "maxLength": 255}
_NULL: Json = {"type": "null"}
# Printable text that neither begins nor ends with a space.
LINE: Json = {**_TEXT, "pattern": r"^[^\s\x00-\x1f\x7f]([^\x00-\x1f\x7f]*[^\s\x00-\x1f\x7f])?\Z"}
_DESCRIPTION: Json = {
    "anyOf": [
        {"type": "string", "maxLength": 65535, "pattern": r"^[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z"},
        _NULL,
    ]
}
_PROJECT: Json = {**_TEXT, "pattern": r"^[a-zA-Z0-9-]*\Z"}


# Flavors

_FLAVOR_ID: Json = {
    "anyOf": [
        {**_TEXT, "pattern": r"^[a-zA-Z0-9._-]([a-zA-Z0-9. _-]*[a-zA-Z0-9._-])?\Z"},
        {"type": "integer", "minimum": 0, "maximum": 2**31 - 1},
        _NULL,
    ]
}
_FACTOR: Json = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 3.40282e38},
        {"type": "string", "pattern": r"^[0-9]{1,30}(\.[0-9]{1,30})?\Z"},
    ]
}


def _flavor(more: dict[str, Json], *gone: str) -> Json:
    required = {"name": LINE, "ram": integer(1), "vcpus": integer(1), "disk": integer(0)}
    optional = {
        "id": _FLAVOR_ID,
        "swap": integer(0),
        "OS-FLV-EXT-DATA:ephemeral": integer(0),
        "rxtx_factor": _FACTOR,
        "os-flavor-access:is_public": BOOLEAN,
    }
    known = {name: one for name, one in {**optional, **more}.items() if name not in gone}
    return only({"flavor": only(required, known)})


FLAVORS = (
    Schema("NewFlavor", _flavor({})),
    Schema("NewFlavor2.55", _flavor({"description": _DESCRIPTION})),
    Schema("NewFlavor2.102", _flavor({"description": _DESCRIPTION}, "rxtx_factor")),
)
FLAVOR_CHANGE = Schema("FlavorChange", only({"flavor": only({"description": _DESCRIPTION})}))

SPEC_KEY = r"^[a-zA-Z0-9\-_:. ]{1,255}\Z"


def _specs(**limits: Any) -> Json:
    return {
        "type": "object",
        "propertyNames": {"pattern": SPEC_KEY},
        "additionalProperties": {
            "anyOf": [{"type": "string", "maxLength": 255}, {"type": "number"}]
        },
        **limits,
    }


EXTRA_SPECS = Schema("ExtraSpecs", only({"extra_specs": _specs()}))
EXTRA_SPEC = Schema("ExtraSpec", _specs(minProperties=1, maxProperties=1))

FLAVOR_ACTION = Schema(
    "FlavorAction",
    {
        **only(
            {},
            {
                name: only({"tenant": _PROJECT})
                for name in ("addTenantAccess", "removeTenantAccess")
            },
        ),
        "minProperties": 1,
        "maxProperties": 1,
    },
)


def flavor(version: Version) -> Schema:
    """The body of a flavor's creation at this microversion."""
    return FLAVORS[(version >= (2, 55)) + (version >= (2, 102))]


# Keys


def _keypair(more: dict[str, Json], *, imported: bool = False) -> Json:
    name = {**_TEXT, "pattern": r"^[A-Za-z0-9_@.-]([A-Za-z0-9 _@.-]*[A-Za-z0-9_@.-])?\Z"}
    public = {"type": "string", "minLength": 1, "maxLength": 16384}
    key = {"public_key": public}
    required, optional = ({"name": name, **key}, {}) if imported else ({"name": name}, key)
    return only({"keypair": only(required, {**optional, **more})})


_KINDS: Json = {"enum": ["ssh", "x509"]}
KEYPAIRS = (
    Schema("NewKeypair", _keypair({})),
    Schema("NewKeypair2.2", _keypair({"type": _KINDS})),
    Schema("NewKeypair2.10", _keypair({"type": _KINDS, "user_id": _TEXT})),
    # From 2.92 keys are brought, not made here.
    Schema("NewKeypair2.92", _keypair({"type": _KINDS, "user_id": _TEXT}, imported=True)),
)


def keypair(version: Version) -> Schema:
    """The body of a key's creation at this microversion."""
    return KEYPAIRS[sum(version >= since for since in ((2, 2), (2, 10), (2, 92)))]


# Quotas

_LIMIT: Json = {
    "anyOf": [
        {"type": "integer", "minimum": -1, "maximum": 2**31 - 1, "x-low": -1, "x-high": 2**31 - 1},
        {"type": "string", "pattern": r"^(-1|[0-9]{1,10})\Z"},
    ],
    "x-low": -1,
    "x-high": 2**31 - 1,
}


def _quota_set(resources: tuple[str, ...]) -> Json:
    limits = dict.fromkeys(resources, _LIMIT)
    return only({"quota_set": only({}, {**limits, "force": BOOLEAN})})


QUOTA_SETS = (
    Schema("QuotaSet", _quota_set(RESOURCES)),
    Schema("QuotaSet2.36", _quota_set(tuple(r for r in RESOURCES if r not in NETWORK))),
    Schema(
        "QuotaSet2.57",
        _quota_set(tuple(r for r in RESOURCES if r not in NETWORK and r not in INJECTED)),
    ),
)


_GROUPS = ("server_groups", "server_group_members")


def _quota_class(left_out: tuple[str, ...]) -> Json:
    limits = {name: _LIMIT for name in RESOURCES if name not in left_out}
    return only({"quota_class_set": {**only({}, limits), "minProperties": 1}})


QUOTA_CLASSES = (
    Schema("QuotaClassSet", _quota_class(_GROUPS)),
    Schema("QuotaClassSet2.50", _quota_class(NETWORK)),
    Schema("QuotaClassSet2.57", _quota_class(NETWORK + INJECTED)),
)


def quota_class_set(version: Version) -> Schema:
    """The body of a class's change at this microversion."""
    return QUOTA_CLASSES[(version >= (2, 50)) + (version >= (2, 57))]


def quota_set(version: Version) -> Schema:
    """The body of a quota's change at this microversion."""
    return QUOTA_SETS[(version >= (2, 36)) + (version >= (2, 57))]


# Services

_REASON: Json = {**LINE, "maxLength": 255}
_HOST_AND_BINARY: dict[str, Json] = {"host": _TEXT, "binary": _TEXT}
SERVICE_ACTION = Schema(
    "ServiceAction",
    only(_HOST_AND_BINARY, {"disabled_reason": _REASON}),
)
SERVICE_FORCE_DOWN = Schema(
    "ServiceForceDown",
    only({**_HOST_AND_BINARY, "forced_down": BOOLEAN}, {"disabled_reason": _REASON}),
)
SERVICE_CHANGE = Schema(
    "ServiceChange",
    {
        **only(
            {},
            {
                "status": {"enum": ["enabled", "disabled"]},
                "disabled_reason": _REASON,
                "forced_down": BOOLEAN,
            },
        ),
        "minProperties": 1,
    },
)

# Hosts

_WORDS = [form(word) for word in ("enable", "disable") for form in (str, str.title, str.upper)]
HOST_CHANGE = Schema(
    "HostChange",
    {
        **only({}, {"status": {"enum": _WORDS}, "maintenance_mode": {"enum": _WORDS}}),
        "minProperties": 1,
    },
)
