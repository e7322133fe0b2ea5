"""Whether a host may be used at all, and has room."""

from __future__ import annotations

import numpy as np

from app.domain.request_spec import RequestSpec
from app.scheduler.host_table import HostTable, Mask
from app.scheduler.options import Options
from app.scheduler.rules import Filter


def compute(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask:
    """Hosts whose worker and hypervisor are up, and which an operator has not disabled."""
    return np.asarray(hosts.usable > 0)


def all_hosts(hosts: HostTable, spec: RequestSpec, options: Options) -> None:
    """Every host."""


def availability_zone(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """Hosts in the zone that was asked for; all of them when none was."""
    if spec.zone is None:
        return None
    return hosts.zones.masked(lambda zone: bool(zone == spec.zone))


def forced_host(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """The one host that an administrator named; all of them otherwise."""
    return None if spec.forced_host is None else hosts.named([spec.forced_host])


def retry(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask | None:
    """Hosts that have not failed this request already, and owe no clean-up of it."""
    return ~hosts.named(spec.tried) if spec.tried else None


def vcpus(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask:
    """Hosts with the vCPUs free, counting the ratio; none gives one server more than it has."""
    wanted = spec.resources.vcpus
    return np.asarray((hosts.room_vcpus >= wanted) & (hosts.vcpus >= wanted))


def ram(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask:
    """Hosts with the RAM free, counting reserve and ratio."""
    wanted = spec.resources.ram_mb
    return np.asarray((hosts.room_ram_mb >= wanted) & (hosts.ram_mb >= wanted))


def disk(hosts: HostTable, spec: RequestSpec, options: Options) -> Mask:
    """Hosts with the disk free, counting the ratio."""
    wanted = spec.resources.disk_gb
    return np.asarray((hosts.room_disk_gb >= wanted) & (hosts.disk_gb >= wanted))


FILTERS = (
    Filter("compute", "not enabled and up", compute, "ComputeFilter", basic=True),
    Filter("all_hosts", "not there", all_hosts, "AllHostsFilter"),
    Filter(
        "availability_zone",
        "in another availability zone",
        availability_zone,
        "AvailabilityZoneFilter",
    ),
    Filter("forced_host", "not the host that was asked for", forced_host, basic=True),
    Filter("retry", "ruled out: tried before for this request", retry, "RetryFilter", basic=True),
    Filter("vcpus", "short of vCPUs", vcpus, "CoreFilter", basic=True),
    Filter("ram", "short of RAM", ram, "RamFilter", basic=True),
    Filter("disk", "short of disk", disk, "DiskFilter", basic=True),
)
