"""Compute's answers, but for servers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from app.web.microversions import Version
from app.web.shapes.parts import (
    EMPTY,
    LINKS,
    NULL,
    NUMBER,
    TEXT,
    TRUTH,
    WHOLE,
    Changed,
    Record,
    either,
    gone,
    many,
    maybe,
    named,
    new,
    one_of,
    page,
    sometimes,
    under,
    until,
)

# What there is
_VERSION = Record(
    {
        **dict.fromkeys(("id", "status", "version", "min_version", "updated"), TEXT),
        "links": LINKS,
    }
)
_MEDIA = Record({"base": TEXT, "type": TEXT})
VERSIONS = under("versions", many(_VERSION))
VERSION = under("version", _VERSION | {"media-types": many(_MEDIA)})
_EXTENSION = Record(
    {
        **dict.fromkeys(("alias", "name", "description", "namespace", "updated"), TEXT),
        "links": EMPTY,
    },
    "ComputeExtension",
)
EXTENSIONS = under("extensions", many(_EXTENSION))
ONE_EXTENSION = under("extension", _EXTENSION)

# Flavors
_DESCRIBED = {"description": new((2, 55), maybe(TEXT))}
FLAVOR_SHORT = Record({"id": TEXT, "name": TEXT, "links": LINKS, **_DESCRIBED}, "FlavorInList")
FLAVOR = Record(
    {
        **FLAVOR_SHORT.fields,
        "ram": WHOLE,
        "disk": WHOLE,
        "vcpus": WHOLE,
        "swap": Changed((2, 75), either(WHOLE, {"const": ""}), WHOLE),
        "OS-FLV-EXT-DATA:ephemeral": WHOLE,
        "os-flavor-access:is_public": TRUTH,
        "rxtx_factor": gone((2, 102), NUMBER),
        "OS-FLV-DISABLED:disabled": gone((2, 102), TRUTH),
        "extra_specs": sometimes(new((2, 61), named(TEXT))),
    },
    "Flavor",
)
FLAVORS, FLAVORS_DETAIL = page("flavors", FLAVOR_SHORT), page("flavors", FLAVOR)
ONE_FLAVOR = under("flavor", FLAVOR)
EXTRA_SPECS, ONE_SPEC = under("extra_specs", named(TEXT)), one_of(TEXT)
FLAVOR_ACCESS = under("flavor_access", many(Record({"flavor_id": TEXT, "tenant_id": TEXT})))

# Key pairs
KEYPAIR = Record(
    {"name": TEXT, "public_key": TEXT, "fingerprint": TEXT, "type": new((2, 2), TEXT)}, "KeyInList"
)
KEYPAIRS = page("keypairs", under("keypair", KEYPAIR))
KEYPAIR_MADE = under("keypair", KEYPAIR | {"user_id": TEXT, "private_key": sometimes(TEXT)})
ONE_KEYPAIR = under(
    "keypair",
    KEYPAIR
    | {
        "user_id": TEXT,
        "id": WHOLE,
        "created_at": TEXT,
        "updated_at": NULL,
        "deleted": TRUTH,
        "deleted_at": NULL,
    },
)

# Server groups
SERVER_GROUP = Record(
    {
        "id": TEXT,
        "name": TEXT,
        "members": many(TEXT),
        "policy": new((2, 64), TEXT),
        "rules": new((2, 64), Record({"max_server_per_host": sometimes(WHOLE)})),
        "policies": gone((2, 64), many(TEXT)),
        "metadata": gone((2, 64), Record({})),
        "project_id": new((2, 13), TEXT),
        "user_id": new((2, 13), TEXT),
    },
    "ServerGroup",
)
ONE_SERVER_GROUP = under("server_group", SERVER_GROUP)
SERVER_GROUPS = under("server_groups", many(SERVER_GROUP))

# Aggregates
AGGREGATE_SHORT = Record(
    {
        "id": WHOLE,
        "name": TEXT,
        "availability_zone": maybe(TEXT),
        "created_at": TEXT,
        "updated_at": maybe(TEXT),
        "deleted": TRUTH,
        "deleted_at": NULL,
        "uuid": new((2, 41), TEXT),
    }
)
AGGREGATE = Record(
    {**AGGREGATE_SHORT.fields, "hosts": many(TEXT), "metadata": named(TEXT)}, "Aggregate"
)
AGGREGATE_MADE = under("aggregate", AGGREGATE_SHORT)
ONE_AGGREGATE, AGGREGATES = under("aggregate", AGGREGATE), under("aggregates", many(AGGREGATE))

# Services
_ID = Changed((2, 53), WHOLE, TEXT)
_ABLE, _STATE = {"enum": ["enabled", "disabled"]}, {"enum": ["up", "down"]}
SERVICE = Record(
    {
        "id": _ID,
        "binary": TEXT,
        "host": TEXT,
        "zone": TEXT,
        "status": _ABLE,
        "state": _STATE,
        "updated_at": TEXT,
        "disabled_reason": maybe(TEXT),
        "forced_down": new((2, 11), TRUTH),
    },
    "Service",
)
SERVICES = under("services", many(SERVICE))
_SERVICE_TOLD = Record(
    {
        "host": TEXT,
        "binary": TEXT,
        "status": sometimes(_ABLE),
        "disabled_reason": sometimes(TEXT),
        "forced_down": sometimes(TRUTH),
    }
)
SERVICE_CHANGED = under("service", Changed((2, 53), _SERVICE_TOLD, SERVICE))

# Hypervisors
_SERVERS = many(Record({"uuid": TEXT, "name": TEXT}))
HYPERVISOR_SHORT = Record(
    {
        "id": _ID,
        "hypervisor_hostname": TEXT,
        "state": _STATE,
        "status": _ABLE,
        "servers": sometimes(new((2, 53), _SERVERS)),
    },
    "HypervisorInList",
)


def _hypervisor(capacity: Iterable[str]) -> Record:
    return Record(
        {
            **HYPERVISOR_SHORT.fields,
            "hypervisor_type": TEXT,
            "hypervisor_version": WHOLE,
            "host_ip": TEXT,
            "service": Record({"id": _ID, "host": TEXT, "disabled_reason": maybe(TEXT)}),
            "uptime": new((2, 88), maybe(TEXT)),
            "cpu_info": gone((2, 88), Changed((2, 28), TEXT, Record({"model": TEXT}))),
            "disk_available_least": gone((2, 88), NULL),
            **{name: gone((2, 88), WHOLE) for name in capacity},
        },
        "Hypervisor",
    )


def hypervisor(capacity: Iterable[str]) -> Record:
    """One hypervisor; `capacity` are the numbers of what it has, to 2.87."""
    return under("hypervisor", _hypervisor(capacity))


def hypervisors(capacity: Iterable[str]) -> Record:
    """A list of them with all they have."""
    return page("hypervisors", _hypervisor(capacity))


HYPERVISORS = page("hypervisors", HYPERVISOR_SHORT)
HYPERVISORS_FOUND = under(
    "hypervisors", many(Record({**HYPERVISOR_SHORT.fields, "servers": sometimes(_SERVERS)}))
)
UPTIME = under("hypervisor", Record({**HYPERVISOR_SHORT.fields, "uptime": TEXT}))


def statistics(capacity: Iterable[str]) -> Record:
    """The sums of the hypervisors' numbers."""
    sums = [*capacity, "count", "disk_available_least"]
    return under("hypervisor_statistics", Record(dict.fromkeys(sums, WHOLE)))


def limits(names: Iterable[str], ended: Mapping[str, Version]) -> Record:
    """Numbers by name, some of them until a version."""
    absolute = Record(until(ended, names, WHOLE))
    return under("limits", Record({"rate": EMPTY, "absolute": absolute}))
