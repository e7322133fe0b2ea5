"""Compute's answers about limits and use, and about the cloud to who operates it."""

from __future__ import annotations

from app.store.quotas import INJECTED, NETWORK, RESOURCES
from app.web.microversions import Version
from app.web.shapes.parts import (
    EMPTY,
    LINKS,
    NULL,
    NUMBER,
    TEXT,
    TRUTH,
    WHOLE,
    Field,
    Part,
    Record,
    either,
    many,
    maybe,
    named,
    new,
    sometimes,
    under,
    until,
)

# Quotas
_GROUPS = ("server_groups", "server_group_members")
_INJECTED: dict[str, Version] = dict.fromkeys(INJECTED, (2, 57))
_ENDED: dict[str, Version] = {**dict.fromkeys(NETWORK, (2, 36)), **_INJECTED}
_USE = Record(dict.fromkeys(("limit", "in_use", "reserved"), WHOLE))


def _of_class() -> dict[str, Field]:
    """The numbers of a class; Nova was late to end some and to have others."""
    ended: dict[str, Version] = {**dict.fromkeys(NETWORK, (2, 50)), **_INJECTED}
    return until(ended, RESOURCES, WHOLE) | {name: new((2, 50), WHOLE) for name in _GROUPS}


_ID: dict[str, Part] = {"id": TEXT}
_LIMITS = Record(until(_ENDED, RESOURCES, WHOLE))
LIMITS_SET, LIMITS = under("quota_set", _LIMITS), under("quota_set", _LIMITS | _ID)
LIMITS_AND_USE = under("quota_set", Record(until(_ENDED, RESOURCES, _USE)) | _ID)
_CLASS = Record(_of_class())
CLASS_SET, CLASS = under("quota_class_set", _CLASS), under("quota_class_set", _CLASS | _ID)

# Use
_SERVER = Record(
    {
        **dict.fromkeys(
            ("instance_id", "name", "tenant_id", "flavor", "started_at", "state"), TEXT
        ),
        "ended_at": maybe(TEXT),
        "hours": NUMBER,
        **dict.fromkeys(("memory_mb", "local_gb", "vcpus", "uptime"), WHOLE),
    },
    "ServerUsage",
)
_TOTALS = ("total_hours", "total_memory_mb_usage", "total_vcpus_usage", "total_local_gb_usage")
_PROJECT = Record(
    {
        **dict.fromkeys(("tenant_id", "start", "stop"), TEXT),
        **dict.fromkeys(_TOTALS, NUMBER),
        "server_usages": sometimes(many(_SERVER)),
    },
    "ProjectUsage",
)
_MORE = sometimes(new((2, 40), LINKS))
USAGES = under("tenant_usages", many(_PROJECT), tenant_usages_links=_MORE)
USAGE = under(
    "tenant_usage",
    either(Record({}), _PROJECT | {"server_usages": many(_SERVER)}),
    tenant_usage_links=_MORE,
)

# Zones
_ZONE = Record({"zoneName": TEXT, "zoneState": Record({"available": TRUTH}), "hosts": NULL})
_STANDING = Record({"available": TRUTH, "active": TRUTH, "updated_at": TEXT})
ZONES = under("availabilityZoneInfo", many(_ZONE))
ZONES_DETAIL = under("availabilityZoneInfo", many(_ZONE | {"hosts": named(named(_STANDING))}))

# Hosts
_RESOURCE = Record(
    {"host": TEXT, "project": TEXT, **dict.fromkeys(("cpu", "memory_mb", "disk_gb"), WHOLE)},
    "HostResource",
)
HOSTS = under("hosts", many(Record(dict.fromkeys(("host_name", "service", "zone"), TEXT))))
ONE_HOST = under("host", many(under("resource", _RESOURCE)))
HOST_CHANGED = Record({"host": TEXT, "status": {"enum": ["enabled", "disabled"]}})

# The usage audit
_COUNTS = (
    "num_hosts", "num_hosts_done", "num_hosts_running", "num_hosts_not_run", "total_instances",
    "total_errors",
)  # fmt: skip
_AUDIT = Record(
    {
        **dict.fromkeys(("period_beginning", "period_ending", "overall_status"), TEXT),
        **dict.fromkeys(_COUNTS, WHOLE),
        "hosts_not_run": many(TEXT),
        "log": Record({}),
    },
    "UsageAudit",
)
AUDITS = under("instance_usage_audit_logs", _AUDIT)
AUDIT = under("instance_usage_audit_log", _AUDIT)

MIGRATIONS = under("migrations", EMPTY)

# Events of other services
_EVENT = Record(
    {
        "server_uuid": TEXT,
        "name": TEXT,
        "status": {"enum": ["failed", "completed", "in-progress"]},
        "tag": sometimes(TEXT),
        "code": {"enum": [200, 404, 422]},
    },
    "ExternalEvent",
)
EVENTS = under("events", many(_EVENT))
