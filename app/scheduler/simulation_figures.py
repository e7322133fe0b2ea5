"""How well a cloud's hosts are used at one moment: docs/simulate.md defines each figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from app.domain.request_spec import RequestSpec
from app.domain.resources import Resources
from app.scheduler import capacity
from app.scheduler.host_table import Floats, HostTable
from app.scheduler.policy import Policy

RESOURCES = ("vcpus", "ram_mb", "disk_gb")
Shares = dict[str, float]


@dataclass(frozen=True)
class Counts:
    """Servers since the start. `asked` were `placed` or `refused`.

    Of those on the `lost_hosts`, `moved` found another host and `homeless` did not. `left` went at
    the end of their lifetime.
    """

    asked: int = 0
    placed: int = 0
    refused: int = 0
    left: int = 0
    moved: int = 0
    homeless: int = 0
    lost_hosts: int = 0


@dataclass(frozen=True)
class Moment:
    """The cloud `at` so many seconds after the start, over hosts that are enabled and up.

    `used`, `stranded` are shares of the limits by resource, `imbalance` is the coefficient of
    variation of the hosts' used shares. `largest_fit` servers of the largest flavor fit one host
    by one, `largest_ideal` would if all that is free were on one host.
    """

    at: float
    counts: Counts
    servers: int
    hosts: int
    used: Shares = field(default_factory=dict)
    stranded: Shares = field(default_factory=dict)
    imbalance: Shares = field(default_factory=dict)
    largest_fit: int = 0
    largest_ideal: int = 0

    @property
    def fragmentation(self) -> float:
        """The share of `largest_ideal` that does not fit; 0 when nothing would fit anyway."""
        return 1.0 - self.largest_fit / self.largest_ideal if self.largest_ideal else 0.0

    def as_json(self) -> dict[str, Any]:
        """All of it by name, the counts among the others."""
        found = asdict(self)
        return {**found.pop("counts"), **found, "fragmentation": self.fragmentation}


class Looks:
    """What does not change from one look at a cloud to the next.

    `kinds` are the servers that may be asked for.
    """

    def __init__(self, kinds: Sequence[RequestSpec], policy: Policy, hosts: HostTable) -> None:
        self._policy = policy
        wanted = [_amounts(one.resources) for one in kinds]
        self._least = np.array(wanted).min(axis=0) if wanted else np.zeros(len(RESOURCES))
        self.largest = largest(kinds, hosts)

    def at(self, hosts: HostTable, at: float, counts: Counts, servers: int) -> Moment:
        """The moment's figures."""
        up = hosts.usable > 0
        used = np.array([getattr(hosts, f"used_{name}")[up] for name in RESOURCES])
        room = np.array([getattr(hosts, f"room_{name}")[up] for name in RESOURCES])
        limits = used + room
        free = np.maximum(room, 0.0)
        fit, ideal = self._fitting(hosts, free)
        return Moment(
            at,
            counts,
            servers,
            int(np.count_nonzero(up)),
            _named(_shares(used.sum(axis=1), limits.sum(axis=1))),
            _named(_shares(self._stranded(room, free), limits.sum(axis=1))),
            _named(
                np.array([_variation(_shares(*pair)) for pair in zip(used, limits, strict=True)])
            ),
            fit,
            ideal,
        )

    def _stranded(self, room: Floats, free: Floats) -> Floats:
        used_up = room < self._least[:, np.newaxis]
        others = used_up.sum(axis=0) - used_up
        return np.asarray((free * (others > 0)).sum(axis=1))

    def _fitting(self, hosts: HostTable, free: Floats) -> tuple[int, int]:
        if self.largest is None:
            return 0, 0
        fit = int(capacity.per_host(hosts, self.largest, self._policy).sum())
        wanted = _amounts(self.largest.resources)
        parts = [
            int(sum_ // one) for sum_, one in zip(free.sum(axis=1), wanted, strict=True) if one
        ]
        return fit, max(fit, min(parts, default=fit))


def largest(kinds: Sequence[RequestSpec], hosts: HostTable) -> RequestSpec | None:
    """The kind that takes the greatest share of an average host, in what it takes most of."""
    if not kinds or not len(hosts):
        return None
    totals = np.array([getattr(hosts, name).mean() for name in RESOURCES])

    def share(one: RequestSpec) -> tuple[float, ...]:
        shares = _shares(np.array(_amounts(one.resources)), totals)
        return float(shares.max()), float(shares.sum())

    return max(kinds, key=share)


def _amounts(wanted: Resources) -> tuple[float, ...]:
    return wanted.vcpus, wanted.ram_mb, wanted.disk_gb


def _shares(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _variation(shares: Floats) -> float:
    mean = float(shares.mean()) if len(shares) else 0.0
    return float(shares.std()) / mean if mean else 0.0


def _named(values: Floats) -> Shares:
    return dict(zip(RESOURCES, values.tolist(), strict=True))
