"""What a server takes and a host has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """Virtual CPUs, RAM in MiB and disk in GiB."""

    vcpus: int
    ram_mb: int
    disk_gb: int

    def __add__(self, other: Resources) -> Resources:
        return Resources(
            self.vcpus + other.vcpus, self.ram_mb + other.ram_mb, self.disk_gb + other.disk_gb
        )


NOTHING = Resources(0, 0, 0)
