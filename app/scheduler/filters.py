"""Filters: pure masks over the host table. The decorator's text is the refusal users read."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from app.domain.request_spec import RequestSpec
from app.scheduler.host_table import HostTable, Mask

Filter = Callable[[HostTable, RequestSpec], Mask]
REFUSALS: dict[str, str] = {}


def refuses(because: str) -> Callable[[Filter], Filter]:
    """Name the reason for which a filter refuses hosts."""

    def mark(rule: Filter) -> Filter:
        REFUSALS[rule.__name__] = because
        return rule

    return mark


@refuses("not enabled and up")
def compute(hosts: HostTable, spec: RequestSpec) -> Mask:
    """Hosts whose worker and hypervisor are up, and which an operator has not disabled."""
    return hosts.usable


@refuses("in another availability zone")
def availability_zone(hosts: HostTable, spec: RequestSpec) -> Mask:
    """Hosts in the zone that was asked for; all of them when none was."""
    if spec.zone is None:
        return np.ones(len(hosts), dtype=bool)
    return np.asarray(hosts.zones == spec.zone, dtype=bool)


@refuses("not the host that was asked for")
def forced_host(hosts: HostTable, spec: RequestSpec) -> Mask:
    """The one host that an administrator named; all of them otherwise."""
    if spec.forced_host is None:
        return np.ones(len(hosts), dtype=bool)
    return hosts.named(frozenset({spec.forced_host}))


@refuses("tried before for this request")
def retry(hosts: HostTable, spec: RequestSpec) -> Mask:
    """Hosts that have not failed this request already, and owe no clean-up of it."""
    return ~hosts.named(spec.tried)


@refuses("not enough vCPUs")
def vcpus(hosts: HostTable, spec: RequestSpec) -> Mask:
    """Hosts with the flavor's vCPUs free, counting the host's overcommit ratio."""
    return hosts.free_vcpus >= spec.resources.vcpus


@refuses("not enough RAM")
def ram(hosts: HostTable, spec: RequestSpec) -> Mask:
    """Hosts with the flavor's RAM free, counting reserve and overcommit ratio."""
    return hosts.free_ram_mb >= spec.resources.ram_mb


@refuses("not enough disk")
def disk(hosts: HostTable, spec: RequestSpec) -> Mask:
    """Hosts with the flavor's disk free, counting the host's overcommit ratio."""
    return hosts.free_disk_gb >= spec.resources.disk_gb


FILTERS: tuple[Filter, ...] = (compute, availability_zone, forced_host, retry, vcpus, ram, disk)
"""In this order: each host is counted under the first filter that refuses it."""
