"""Weighers: one float per host, the more the better; normalised to 0..1 and summed."""

from __future__ import annotations

from collections.abc import Callable

from app.domain.request_spec import RequestSpec
from app.scheduler.host_table import Floats, HostTable

Weigher = Callable[[HostTable, RequestSpec], Floats]


def free_ram(hosts: HostTable, spec: RequestSpec) -> Floats:
    """Prefer the host with the most RAM free: spread."""
    return hosts.free_ram_mb


def free_vcpus(hosts: HostTable, spec: RequestSpec) -> Floats:
    """Prefer the host with the most vCPUs free."""
    return hosts.free_vcpus


def free_disk(hosts: HostTable, spec: RequestSpec) -> Floats:
    """Prefer the host with the most disk free."""
    return hosts.free_disk_gb


def build_failures(hosts: HostTable, spec: RequestSpec) -> Floats:
    """Avoid hosts whose last builds failed."""
    return -hosts.failed_builds


WEIGHERS: tuple[tuple[Weigher, float], ...] = (
    (free_ram, 1.0),
    (free_vcpus, 1.0),
    (free_disk, 1.0),
    (build_failures, 1_000_000.0),
)
