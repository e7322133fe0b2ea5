"""All hosts as columns: what every filter and weigher works on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.domain.resources import Resources

Mask = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class HostRow:
    """One host as the scheduler sees it; limits already count ratio and reserve."""

    name: str
    zone: str
    usable: bool
    limit: Resources
    used: Resources
    failed_builds: int = 0


class HostTable:
    """Columns over all hosts. RAM in MiB, disk in GiB. Only `take` and `mark` change it."""

    def __init__(self, rows: Sequence[HostRow]) -> None:
        self.names = [row.name for row in rows]
        self.index = {name: position for position, name in enumerate(self.names)}
        self.zones = np.array([row.zone for row in rows], dtype=object)
        self.usable: Mask = np.array([row.usable for row in rows], dtype=bool)
        self.free_vcpus: Floats = self._free([(r.limit.vcpus, r.used.vcpus) for r in rows])
        self.free_ram_mb: Floats = self._free([(r.limit.ram_mb, r.used.ram_mb) for r in rows])
        self.free_disk_gb: Floats = self._free([(r.limit.disk_gb, r.used.disk_gb) for r in rows])
        self.failed_builds: Floats = np.array([r.failed_builds for r in rows], dtype=float)

    @staticmethod
    def _free(pairs: Sequence[tuple[int, int]]) -> Floats:
        return np.array([limit - used for limit, used in pairs], dtype=float)

    def __len__(self) -> int:
        return len(self.names)

    def named(self, names: frozenset[str]) -> Mask:
        """A mask of the hosts with these names."""
        mask = np.zeros(len(self), dtype=bool)
        for name in names:
            if (position := self.index.get(name)) is not None:
                mask[position] = True
        return mask

    def take(self, position: int, wanted: Resources) -> None:
        """Count one more server of `wanted` on the host at `position`."""
        self.free_vcpus[position] -= wanted.vcpus
        self.free_ram_mb[position] -= wanted.ram_mb
        self.free_disk_gb[position] -= wanted.disk_gb
