"""Server groups with a hard policy; what the request has placed already counts as placed."""

from __future__ import annotations

import numpy as np

from app.domain.request_spec import AFFINITY, ANTI_AFFINITY, RequestSpec
from app.scheduler.host_table import HostTable, Mask
from app.scheduler.options import Options
from app.scheduler.rules import Filter


def group_affinity(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """The hosts that the group is on; all of them while it is on none."""
    if spec.group is None or spec.group.policy != AFFINITY:
        return None
    here: Mask = hosts.members > 0
    elsewhere = any(spec.group.members.values())
    return here if elsewhere or here.any() else None


def group_anti_affinity(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """Hosts with fewer of the group's servers than it allows on one."""
    if spec.group is None or spec.group.policy != ANTI_AFFINITY:
        return None
    return np.asarray(hosts.members < spec.group.max_server_per_host)


FILTERS = (
    Filter(
        "group_affinity",
        "not where the server group is",
        group_affinity,
        "ServerGroupAffinityFilter",
        whole=True,
        basic=True,
    ),
    Filter(
        "group_anti_affinity",
        "taken by the server group",
        group_anti_affinity,
        "ServerGroupAntiAffinityFilter",
        basic=True,
    ),
)
