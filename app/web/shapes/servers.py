"""Servers in Compute's answers."""

from __future__ import annotations

from app.web.shapes.parts import (
    EMPTY,
    LINKS,
    NULL,
    TEXT,
    TRUTH,
    WHOLE,
    Changed,
    Part,
    Record,
    either,
    many,
    maybe,
    named,
    new,
    page,
    sometimes,
    under,
)

_ADDRESS = Record({"addr": TEXT, "version": {"enum": [4, 6]}})
ADDRESSES = named(many(_ADDRESS))
ALL_ADDRESSES = under("addresses", ADDRESSES)
_GROUPS = many(Record({"name": TEXT}))
_FLAVOR = Changed(
    (2, 47),
    Record({"id": TEXT, "links": LINKS}),
    Record(
        {
            "original_name": TEXT,
            **dict.fromkeys(("vcpus", "ram", "disk", "ephemeral", "swap"), WHOLE),
            "extra_specs": sometimes(named(TEXT)),
        }
    ),
)
_FAULT = Record({"code": WHOLE, "message": TEXT, "created": TEXT, "details": sometimes(TEXT)})
_IMAGE = Record({"id": TEXT, "links": LINKS, "properties": new((2, 98), named(TEXT))})
_CORE: dict[str, Part] = {
    "id": TEXT,
    "name": TEXT,
    "status": TEXT,
    "tenant_id": TEXT,
    "user_id": TEXT,
    "metadata": named(TEXT),
    "hostId": TEXT,
    "image": either(_IMAGE, {"const": ""}),
    "flavor": _FLAVOR,
    "created": TEXT,
    "updated": TEXT,
    "accessIPv4": TEXT,
    "accessIPv6": TEXT,
    "links": LINKS,
    "OS-DCF:diskConfig": {"enum": ["AUTO", "MANUAL"]},
    "progress": sometimes(WHOLE),
    "fault": sometimes(_FAULT),
}
_NEWER: dict[str, Part] = {
    "locked": new((2, 9), TRUTH),
    "description": new((2, 19), maybe(TEXT)),
    "tags": new((2, 26), many(TEXT)),
    "trusted_image_certificates": new((2, 63), NULL),
    "locked_reason": new((2, 73), maybe(TEXT)),
    "pinned_availability_zone": new((2, 96), maybe(TEXT)),
    "scheduler_hints": new((2, 100), {"type": "object"}),
}
_A, _OLD = "OS-EXT-SRV-ATTR:", (2, 3)
_ATTRIBUTES: dict[str, Part] = {
    f"{_A}host": sometimes(maybe(TEXT)),
    f"{_A}hypervisor_hostname": sometimes(maybe(TEXT)),
    f"{_A}instance_name": sometimes(TEXT),
    f"{_A}hostname": sometimes(new(_OLD, TEXT)),
    f"{_A}reservation_id": sometimes(new(_OLD, TEXT)),
    f"{_A}launch_index": sometimes(new(_OLD, WHOLE)),
    f"{_A}kernel_id": sometimes(new(_OLD, TEXT)),
    f"{_A}ramdisk_id": sometimes(new(_OLD, TEXT)),
    f"{_A}root_device_name": sometimes(new(_OLD, TEXT)),
    f"{_A}user_data": sometimes(new(_OLD, maybe(TEXT))),
}
SERVER = Record(
    {
        **_CORE,
        **_NEWER,
        **_ATTRIBUTES,
        "addresses": named(
            many(_ADDRESS | {"OS-EXT-IPS:type": TEXT, "OS-EXT-IPS-MAC:mac_addr": TEXT})
        ),
        "OS-EXT-AZ:availability_zone": TEXT,
        "config_drive": {"enum": ["True", ""]},
        "key_name": maybe(TEXT),
        "OS-SRV-USG:launched_at": maybe(TEXT),
        "OS-SRV-USG:terminated_at": maybe(TEXT),
        "OS-EXT-STS:task_state": maybe(TEXT),
        "OS-EXT-STS:vm_state": TEXT,
        "OS-EXT-STS:power_state": WHOLE,
        "os-extended-volumes:volumes_attached": EMPTY,
        "security_groups": sometimes(_GROUPS),
        "host_status": sometimes(new((2, 16), TEXT)),
    },
    "ServerInList",
    extended=True,
)
_IN_GROUP: dict[str, Part] = {"server_groups": new((2, 71), many(TEXT))}
SINGLE = Record({**SERVER.fields, **_IN_GROUP}, "Server", extended=True)
_LESS = Record({**_CORE, **_NEWER, **_IN_GROUP, "addresses": ADDRESSES}, extended=True)

SERVERS = page("servers", Record({"id": TEXT, "name": TEXT, "links": LINKS}))
SERVERS_DETAIL = page("servers", SERVER)
ONE_SERVER = under("server", SINGLE)
CHANGED_SERVER = under("server", Changed((2, 75), _LESS, SINGLE))
CREATED = either(
    under(
        "server",
        Record(
            {
                "id": TEXT,
                "links": LINKS,
                "OS-DCF:diskConfig": _CORE["OS-DCF:diskConfig"],
                "security_groups": _GROUPS,
                "adminPass": TEXT,
            }
        ),
    ),
    Record({"reservation_id": TEXT}),
)
