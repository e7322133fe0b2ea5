"""Choose hosts for one request, or say why there is none."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from app.domain.request_spec import RequestSpec
from app.scheduler.filters import FILTERS, REFUSALS
from app.scheduler.host_table import Floats, HostTable, Mask
from app.scheduler.weighers import WEIGHERS


@dataclass(frozen=True)
class Selection:
    """For each server that fits, its host and alternates, best first.

    `refused` counts, for the first server that fits nowhere (or the last one chosen), how many
    of the `hosts` each filter refused.
    """

    picks: list[list[str]] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    hosts: int = 0

    def sentence(self) -> str:
        """The refusal as a person reads it."""
        if not self.hosts:
            return "no host has joined this cloud yet: start a worker on a hypervisor"
        reasons = ", ".join(f"{n} {REFUSALS[name]}" for name, n in self.refused.items() if n)
        return f"0 of {self.hosts} hosts fit: {reasons}"


def select(hosts: HostTable, spec: RequestSpec, count: int, alternates: int) -> Selection:
    """Pick hosts for `count` equal servers, one after the other, counting what each takes.

    `hosts` is consumed. Stops at the first server that fits nowhere.
    """
    picks: list[list[str]] = []
    refused: dict[str, int] = {}
    for _ in range(count):
        fits, refused = _filter(hosts, spec)
        if not fits.any():
            break
        order = _ranked(hosts, spec, fits)[: alternates + 1]
        hosts.take(int(order[0]), spec.resources)
        picks.append([hosts.names[int(position)] for position in order])
    return Selection(picks, refused, len(hosts))


def _filter(hosts: HostTable, spec: RequestSpec) -> tuple[Mask, dict[str, int]]:
    fits: Mask = np.ones(len(hosts), dtype=bool)
    refused: dict[str, int] = {}
    for rule in FILTERS:
        passed = rule(hosts, spec)
        refused[rule.__name__] = int(np.count_nonzero(fits & ~passed))
        fits = fits & passed
    return fits, refused


def _ranked(hosts: HostTable, spec: RequestSpec, fits: Mask) -> Floats:
    positions = np.flatnonzero(fits)
    total = np.zeros(len(positions))
    for weigher, multiplier in WEIGHERS:
        values = weigher(hosts, spec)[positions]
        low, high = values.min(), values.max()
        if high > low:
            total += multiplier * (values - low) / (high - low)
    return np.asarray(positions[np.argsort(-total, kind="stable")])
