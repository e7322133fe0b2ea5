"""What a server takes and a host has."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Resources:
    """Virtual CPUs, RAM in MiB and disk in GiB."""

    vcpus: int
    ram_mb: int
    disk_gb: int
