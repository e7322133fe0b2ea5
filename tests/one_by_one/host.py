"""One host, as Nova's rules look at it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from app.scheduler.rows import AggregateRow, HostRow


@dataclass
class Host:
    """A row with what the request has taken from it."""

    row: HostRow
    aggregates: list[AggregateRow]
    used_vcpus: int
    used_ram_mb: int
    used_disk_gb: int
    servers: int
    building: int
    members: int = 0

    @classmethod
    def of(cls, row: HostRow, aggregates: list[AggregateRow]) -> Host:
        """The host before anything is taken."""
        mine = [one for one in aggregates if row.name in one.hosts]
        used = (row.used.vcpus, row.used.ram_mb, row.used.disk_gb)
        return cls(row, mine, *used, row.servers, row.building)

    @property
    def facts(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.row.facts)
        return found

    @property
    def free_ram_mb(self) -> int:
        return self.row.total.ram_mb - self.row.reserved_ram_mb - self.used_ram_mb

    def attribute(self, name: str) -> Any:
        """By Nova's name; None for one that it has not."""
        row = self.row
        found = {
            "total_usable_ram_mb": row.total.ram_mb,
            "free_ram_mb": self.free_ram_mb,
            "total_usable_disk_gb": row.total.disk_gb,
            "free_disk_mb": (row.total.disk_gb - self.used_disk_gb) * 1024,
            "disk_mb_used": self.used_disk_gb * 1024,
            "vcpus_total": row.total.vcpus,
            "vcpus_used": self.used_vcpus,
            "num_instances": self.servers,
            "num_io_ops": self.building,
            "failed_builds": row.failed_builds,
            "hypervisor_version": row.hypervisor_version,
            "cpu_allocation_ratio": row.cpu_ratio,
            "ram_allocation_ratio": row.ram_ratio,
            "disk_allocation_ratio": row.disk_ratio,
            "host_ip": row.address,
            "hypervisor_hostname": row.hostname,
            "hypervisor_type": row.hypervisor_type,
            "host": row.name,
            "cpu_info": self.facts.get("cpu_info"),
        }
        return found.get(name)

    def at(self, path: list[str]) -> Any:
        """What is found inside an attribute; None when the path leads nowhere."""
        found = self.attribute(path[0])
        for step in path[1:]:
            found = found.get(step) if isinstance(found, dict) else None
        return found

    def values(self, key: str) -> set[str]:
        """What the aggregates say under a key, taken apart at commas."""
        found: set[str] = set()
        for one in self.aggregates:
            if key in one.metadata:
                found |= {part.strip() for part in one.metadata[key].split(",")}
        return found

    def least(self, key: str, kind: type, default: Any) -> Any:
        """The least number of the aggregates, or the default."""
        try:
            numbers = [kind(one.metadata[key]) for one in self.aggregates if key in one.metadata]
        except ValueError:
            return default
        return min(numbers) if numbers else default
