"""Weighers: one float per host; normalised to 0..1 over the hosts that fit, multiplied, summed."""

from __future__ import annotations

import numpy as np

from app.domain.request_spec import SOFT_AFFINITY, SOFT_ANTI_AFFINITY, RequestSpec
from app.scheduler.host_table import Floats, HostTable
from app.scheduler.options import Options
from app.scheduler.rules import Weigher


def ram(hosts: HostTable, spec: RequestSpec, options: Options) -> Floats:
    """RAM that is really free, without the ratio."""
    return np.asarray(hosts.ram_mb - hosts.reserved_ram_mb - hosts.used_ram_mb)


def cpu(hosts: HostTable, spec: RequestSpec, options: Options) -> Floats:
    """vCPUs free, counting the ratio."""
    return hosts.room_vcpus


def disk(hosts: HostTable, spec: RequestSpec, options: Options) -> Floats:
    """Disk that is really free, without the ratio."""
    return np.asarray(hosts.disk_gb - hosts.used_disk_gb)


def io_ops(hosts: HostTable, spec: RequestSpec, options: Options) -> Floats:
    """Builds in flight; its multiplier is negative, so that idle hosts are preferred."""
    return hosts.building


def num_instances(hosts: HostTable, spec: RequestSpec, options: Options) -> Floats:
    """Servers on the host."""
    return hosts.servers


def soft_affinity(hosts: HostTable, spec: RequestSpec, options: Options) -> Floats | None:
    """The more of a soft-affinity group's servers, the better."""
    wanted = spec.group is not None and spec.group.policy == SOFT_AFFINITY
    return hosts.members if wanted else None


def soft_anti_affinity(hosts: HostTable, spec: RequestSpec, options: Options) -> Floats | None:
    """The fewer of a soft-anti-affinity group's servers, the better."""
    wanted = spec.group is not None and spec.group.policy == SOFT_ANTI_AFFINITY
    return -hosts.members if wanted else None


def build_failure(hosts: HostTable, spec: RequestSpec, options: Options) -> Floats:
    """Builds that failed since one went well; by far the heaviest, so such a host comes last."""
    return hosts.failed_builds


def hypervisor_version(hosts: HostTable, spec: RequestSpec, options: Options) -> Floats:
    """The newer the hypervisor, the better."""
    return hosts.hypervisor_version


WEIGHERS: dict[str, Weigher] = {
    one.name: one
    for one in (
        Weigher("ram", ram, 1.0, "RAMWeigher", floor=0.0),
        Weigher("cpu", cpu, 1.0, "CPUWeigher", floor=0.0),
        Weigher("disk", disk, 1.0, "DiskWeigher", floor=0.0),
        Weigher("io_ops", io_ops, -1.0, "IoOpsWeigher", floor=0.0),
        Weigher("num_instances", num_instances, 0.0, "NumInstancesWeigher"),
        Weigher("soft_affinity", soft_affinity, 1.0, "ServerGroupSoftAffinityWeigher"),
        Weigher(
            "soft_anti_affinity", soft_anti_affinity, 1.0, "ServerGroupSoftAntiAffinityWeigher"
        ),
        Weigher("build_failure", build_failure, 1_000_000.0, "BuildFailureWeigher", sign=-1.0),
        Weigher("hypervisor_version", hypervisor_version, 1.0, "HypervisorVersionWeigher"),
    )
}
"""All that are built in, by name; all are on unless the setting `weighers` says otherwise."""
