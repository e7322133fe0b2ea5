"""Compute's answers about what other services have."""

from __future__ import annotations

from collections.abc import Iterable

from app.web.shapes.parts import (
    LINKS,
    NULL,
    TEXT,
    WHOLE,
    Part,
    Record,
    either,
    many,
    maybe,
    named,
    one_of,
    page,
    sometimes,
    under,
)

# Images
IMAGE_SHORT = Record(
    {
        "id": TEXT,
        "name": maybe(TEXT),
        "links": many(Record({"rel": TEXT, "href": TEXT, "type": sometimes(TEXT)})),
    }
)
IMAGE = Record(
    {
        **IMAGE_SHORT.fields,
        "status": {"enum": ["ACTIVE", "SAVING", "UNKNOWN"]},
        **dict.fromkeys(("progress", "minDisk", "minRam"), WHOLE),
        "created": TEXT,
        "updated": TEXT,
        "metadata": named(TEXT),
        "OS-EXT-IMG-SIZE:size": maybe(WHOLE),
        "server": sometimes(Record({"id": TEXT, "links": LINKS})),
        "OS-DCF:diskConfig": sometimes({"enum": ["AUTO", "MANUAL"]}),
    },
    "ComputeImage",
)
IMAGES, IMAGES_DETAIL = page("images", IMAGE_SHORT), page("images", IMAGE)
ONE_IMAGE = under("image", IMAGE)
METADATA, ONE_ITEM = under("metadata", named(TEXT)), under("meta", one_of(TEXT))

# Floating addresses
FLOATING_POOLS = under("floating_ip_pools", many(Record({"name": TEXT})))
FLOATING_IP = Record(
    {
        **dict.fromkeys(("id", "ip", "pool"), TEXT),
        "fixed_ip": maybe(TEXT),
        "instance_id": maybe(TEXT),
    },
    "ComputeFloatingIp",
)
FLOATING_IPS = under("floating_ips", many(FLOATING_IP))
ONE_FLOATING_IP = under("floating_ip", FLOATING_IP)

# Networks
TENANT_NETWORK = Record({"id": TEXT, "label": TEXT, "cidr": {"const": "None"}})
TENANT_NETWORKS = under("networks", many(TENANT_NETWORK))
ONE_TENANT_NETWORK = under("network", TENANT_NETWORK)


def network(empty: Iterable[str], for_administrators: Iterable[str]) -> Record:
    """A network; of what it does not tell some is named to everybody, some to administrators."""
    hidden: dict[str, Part] = dict.fromkeys(for_administrators, sometimes(NULL))
    return Record({"id": TEXT, "label": TEXT, **dict.fromkeys(empty, NULL), **hidden})


# Security groups
_PREFIX = either(Record({}), Record({"cidr": TEXT}))
_REMOTE = either(Record({}), Record({"name": TEXT, "tenant_id": TEXT}))
SECURITY_RULE = Record(
    {
        "id": TEXT,
        "parent_group_id": TEXT,
        "ip_protocol": maybe(TEXT),
        "from_port": maybe(WHOLE),
        "to_port": maybe(WHOLE),
        "ip_range": _PREFIX,
        "group": _REMOTE,
    },
    "ComputeSecurityGroupRule",
)
SECURITY_GROUP = Record(
    {
        **dict.fromkeys(("id", "name", "description", "tenant_id"), TEXT),
        "rules": many(SECURITY_RULE),
    },
    "ComputeSecurityGroup",
)
SECURITY_GROUPS = under("security_groups", many(SECURITY_GROUP))
ONE_SECURITY_GROUP = under("security_group", SECURITY_GROUP)
ONE_SECURITY_RULE = under("security_group_rule", SECURITY_RULE)
