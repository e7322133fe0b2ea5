"""What the host table is made of: one row for each host, one for each aggregate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.domain.resources import NOTHING, Resources


@dataclass(frozen=True)
class HostRow:
    """One host as the database has it. RAM in MiB, disk in GiB; `total` is the machine's own.

    `usable` says that its worker and hypervisor are up and nobody disabled it. The ratios are
    those in force, an aggregate's if one sets it. `building` counts builds and other work on
    disks in flight, `failed_builds` those that failed since one went well. `facts` is a JSON
    object in a canonical form, for what many hosts have in common: `supported_instances` (lists
    of architecture, hypervisor type and mode), `cpu_info`, `traits` (names).
    """

    name: str
    total: Resources
    used: Resources = NOTHING
    zone: str = "nova"
    usable: bool = True
    reserved_ram_mb: int = 0
    cpu_ratio: float = 1.0
    ram_ratio: float = 1.0
    disk_ratio: float = 1.0
    servers: int = 0
    building: int = 0
    failed_builds: int = 0
    address: str = ""
    hostname: str = ""
    hypervisor_type: str = ""
    hypervisor_version: int = 0
    facts: str = "{}"

    @property
    def limit(self) -> tuple[float, float, float]:
        """What may be claimed in all: vCPUs, MiB, GiB."""
        return (
            self.total.vcpus * self.cpu_ratio,
            (self.total.ram_mb - self.reserved_ram_mb) * self.ram_ratio,
            self.total.disk_gb * self.disk_ratio,
        )


@dataclass(frozen=True)
class AggregateRow:
    """A set of hosts, by name, with the metadata that filters and weighers look at."""

    name: str
    hosts: frozenset[str]
    metadata: Mapping[str, str] = field(default_factory=dict)
