"""Compute's answers about what is a server's: its interfaces, actions, tags and so on."""

from __future__ import annotations

from app.web.shapes.parts import (
    EMPTY,
    LINKS,
    NULL,
    TEXT,
    TRUTH,
    WHOLE,
    Changed,
    Record,
    many,
    maybe,
    named,
    new,
    one_of,
    sometimes,
    under,
)

METADATA, ONE_ITEM = under("metadata", named(TEXT)), under("meta", one_of(TEXT))
TAGS = under("tags", many(TEXT))
TOPOLOGY = Record({"nodes": EMPTY, "pagesize_kb": NULL})
PASSWORD = under("password", {"const": ""})
VOLUMES = under("volumeAttachments", EMPTY)

# Interfaces
INTERFACE = Record(
    {
        "port_state": {"enum": ["ACTIVE", "BUILD"]},
        "fixed_ips": many(Record({"subnet_id": TEXT, "ip_address": TEXT})),
        **dict.fromkeys(("port_id", "net_id", "mac_addr"), TEXT),
        "tag": new((2, 70), NULL),
    },
    "Interface",
)
INTERFACES = under("interfaceAttachments", many(INTERFACE))
ONE_INTERFACE = under("interfaceAttachment", INTERFACE)

# Diagnostics: libvirt's own counters by device, and from 2.48 on the same for all hypervisors
_COUNTERS = [
    f"{way}_{what}" for way in ("rx", "tx") for what in ("octets", "errors", "drop", "packets")
]
_NIC = Record(
    {
        "mac_address": TEXT,
        **dict.fromkeys(_COUNTERS, WHOLE),
        **dict.fromkeys(("rx_rate", "tx_rate"), NULL),
    }
)
_DISK_COUNTERS = ("read_bytes", "read_requests", "write_bytes", "write_requests", "errors_count")
_STANDARD = Record(
    {
        "state": {"enum": ["paused", "running"]},
        **dict.fromkeys(("driver", "hypervisor"), TEXT),
        "hypervisor_os": {"const": "linux"},
        "config_drive": TRUTH,
        **dict.fromkeys(("uptime", "num_cpus", "num_nics", "num_disks"), WHOLE),
        "cpu_details": many(Record({"id": WHOLE, "time": WHOLE, "utilisation": NULL})),
        "nic_details": many(_NIC),
        "disk_details": many(Record(dict.fromkeys(_DISK_COUNTERS, WHOLE))),
        "memory_details": Record({"maximum": WHOLE, "used": WHOLE}),
    },
    "Diagnostics",
)
DIAGNOSTICS = Changed((2, 48), Record({"memory": WHOLE}, rest=WHOLE), _STANDARD)

# Instance actions
ACTION_SHORT = Record(
    {
        **dict.fromkeys(
            ("action", "instance_uuid", "project_id", "request_id", "start_time", "user_id"), TEXT
        ),
        "message": maybe({"enum": ["Error", "Cancelled"]}),
        "updated_at": new((2, 58), TEXT),
    },
    "InstanceActionInList",
)
_EVENT = Record(
    {
        "event": TEXT,
        "start_time": TEXT,
        "finish_time": maybe(TEXT),
        "result": maybe(TEXT),
        "traceback": sometimes(maybe(TEXT)),
        "hostId": new((2, 62), TEXT),
        "host": sometimes(new((2, 62), maybe(TEXT))),
        "details": sometimes(new((2, 84), maybe(TEXT))),
    },
    "InstanceActionEvent",
)
_EVENTS = many(_EVENT)
ACTIONS = under("instanceActions", many(ACTION_SHORT), links=sometimes(new((2, 58), LINKS)))
ONE_ACTION = under(
    "instanceAction",
    Changed(
        (2, 51),
        ACTION_SHORT | {"events": sometimes(_EVENTS)},
        ACTION_SHORT | {"events": _EVENTS},
    ),
)
