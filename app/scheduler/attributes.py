"""What a host is called by extra specs and queries: Nova's names for its state."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from app.scheduler.host_table import HostTable

_NUMBERS: dict[str, Callable[[HostTable], Any]] = {
    "total_usable_ram_mb": lambda hosts: hosts.ram_mb,
    "free_ram_mb": lambda hosts: hosts.ram_mb - hosts.reserved_ram_mb - hosts.used_ram_mb,
    "total_usable_disk_gb": lambda hosts: hosts.disk_gb,
    "free_disk_mb": lambda hosts: (hosts.disk_gb - hosts.used_disk_gb) * 1024,
    "disk_mb_used": lambda hosts: hosts.used_disk_gb * 1024,
    "vcpus_total": lambda hosts: hosts.vcpus,
    "vcpus_used": lambda hosts: hosts.used_vcpus,
    "num_instances": lambda hosts: hosts.servers,
    "num_io_ops": lambda hosts: hosts.building,
    "failed_builds": lambda hosts: hosts.failed_builds,
    "hypervisor_version": lambda hosts: hosts.hypervisor_version,
}
_RATIOS = {
    "cpu_allocation_ratio": "cpu_ratio",
    "ram_allocation_ratio": "ram_ratio",
    "disk_allocation_ratio": "disk_ratio",
}
_TEXTS = {"host_ip": 0, "hypervisor_hostname": 1, "hypervisor_type": 2}
NAMES = frozenset({*_NUMBERS, *_RATIOS, *_TEXTS, "host", "cpu_info"})


def column(hosts: HostTable, name: str) -> list[Any] | None:
    """The attribute's value for each host, None where it has none; None for an unknown name."""
    if name in _NUMBERS:
        return [int(value) for value in _NUMBERS[name](hosts).tolist()]
    if name in _RATIOS:
        return list(getattr(hosts, _RATIOS[name]).tolist())
    if name in _TEXTS:
        return [text[_TEXTS[name]] for text in hosts.texts]
    if name == "host":
        return list(hosts.names)
    if name == "cpu_info":
        known = [json.loads(text).get("cpu_info") for text in hosts.facts.values]
        return [known[code] for code in hosts.facts.codes.tolist()]
    return None


def walk(value: Any, path: list[str]) -> Any:
    """What is found in nested objects at the path; None when it leads nowhere."""
    for step in path:
        if not isinstance(value, dict):
            return None
        value = value.get(step)
    return value
