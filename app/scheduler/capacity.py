"""How many more servers of one kind fit."""

from __future__ import annotations

import numpy as np

from app.domain.request_spec import RequestSpec
from app.scheduler.host_table import Floats, HostTable
from app.scheduler.policy import Policy
from app.scheduler.select import judged

MOST = 1_000_000
"""What a host is said to take when the server takes nothing of it."""


def per_host(hosts: HostTable, spec: RequestSpec, policy: Policy) -> Floats:
    """For each host how many equal servers of `spec` it takes, one after the other.

    Filters about builds in flight count as they stand now: builds end.
    """
    fits, _ = judged(hosts, spec, policy.filters, policy)
    found = np.full(len(hosts), float(MOST))
    wanted = spec.resources
    for room, amount in (
        (hosts.room_vcpus, wanted.vcpus),
        (hosts.room_ram_mb, wanted.ram_mb),
        (hosts.room_disk_gb, wanted.disk_gb),
    ):
        if amount:
            np.minimum(found, np.floor(room / amount), out=found)
    for rule in policy.filters:
        if rule.name == "num_instances":
            np.minimum(found, policy.options.max_instances_per_host - hosts.servers, out=found)
    return np.where(fits, np.maximum(found, 0.0), 0.0)


def by_zone(hosts: HostTable, spec: RequestSpec, policy: Policy) -> dict[str, int]:
    """The same for each zone, full ones too."""
    counts = per_host(hosts, spec, policy)
    zones = [hosts.zones.values[code] for code in hosts.zones.codes.tolist()]
    found = dict.fromkeys(sorted(zones), 0)
    for zone, count in zip(zones, counts.tolist(), strict=True):
        found[zone] += int(count)
    return found
