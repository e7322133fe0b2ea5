"""The hosts that fit, weighed; kept up to date as servers are placed on them one by one.

Only the picked host's values change, so everything else is computed anew only when that moves a
weigher's scale. The sums are made in the same order as one host at a time would make them: the
results are equal to the last bit.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from app.domain.request_spec import RequestSpec
from app.scheduler.host_table import Floats, HostTable, Mask
from app.scheduler.options import Options
from app.scheduler.policy import Policy
from app.scheduler.rules import Weigher

GONE = -np.inf


@dataclass(eq=False)
class _Scale:
    """One weigher's values over the fitting hosts, their ends, and the scores from them."""

    rule: Weigher
    values: Floats
    multiplier: Floats | float
    low: float = 0.0
    high: float = 0.0
    scores: Floats | None = None
    stale: bool = False
    """The ends may have moved."""

    def ends(self) -> tuple[float, float]:
        low = self.rule.floor if self.rule.floor is not None else float(self.values.min())
        return float(low), float(self.values.max())

    def change(self, at: int, value: float, gone: list[int]) -> None:
        """One host's value is now this, and so is that of the hosts which are gone."""
        old = float(self.values[at])
        if value == old:
            return
        self.values[at] = value
        self.values[gone] = value
        # Between the ends nothing moves them: most picks need no look at all the other hosts.
        inside = self.low < old < self.high and self.low <= value <= self.high
        self.stale = self.stale or not inside

    def moved(self) -> bool:
        """Whether its ends are no longer those that the scores were made with."""
        stale, self.stale = self.stale, False
        return stale and self.ends() != (self.low, self.high)

    def score(self) -> None:
        self.low, self.high = self.ends()
        if self.low == self.high:
            self.scores = np.zeros(len(self.values))
            return
        scores = self.values - self.low
        scores /= self.high - self.low
        scores *= self.multiplier
        self.scores = scores

    def score_one(self, at: int) -> None:
        if self.scores is not None and self.low != self.high:
            part = (self.values[at] - self.low) / (self.high - self.low)
            self.scores[at] = part * self._multiplier(at)

    def _multiplier(self, at: int) -> float:
        return float(self.multiplier if isinstance(self.multiplier, float) else self.multiplier[at])


class Ranking:
    """Over the hosts of one request that fit; positions are those of its table."""

    def __init__(
        self, hosts: HostTable, spec: RequestSpec, policy: Policy, fits: Mask, chance: random.Random
    ) -> None:
        self._spec, self._options, self._chance = spec, policy.options, chance
        self._at = np.flatnonzero(fits)
        self._gone: list[int] = []
        self._scales = self._made(hosts, policy) if len(self._at) > 1 else []
        for scale in self._scales:
            scale.score()
        self._total: Floats = np.zeros(len(self._at))
        self._sum()

    def _made(self, hosts: HostTable, policy: Policy) -> list[_Scale]:
        scales = []
        everywhere = len(self._at) == len(hosts)
        for rule in policy.weighers:
            factors = hosts.multipliers(f"{rule.name}_weight_multiplier", rule.multiplier)
            if factors is None and rule.multiplier == 0:
                continue
            column = rule.weigh(hosts, self._spec, self._options)
            if column is None:
                continue
            values = np.array(column, dtype=float) if everywhere else column[self._at].astype(float)
            if rule.floor is not None:
                np.maximum(values, rule.floor, out=values)
            factor = rule.multiplier if factors is None else factors[self._at]
            scales.append(_Scale(rule, values, rule.sign * factor))
        return scales

    def _sum(self) -> None:
        self._total = np.zeros(len(self._at))
        if self.alive > 1:
            for scale in self._scales:
                self._total += scale.scores if scale.scores is not None else 0.0
        if self._gone:
            self._total[self._gone] = GONE

    @property
    def alive(self) -> int:
        """How many hosts fit."""
        return len(self._at) - len(self._gone)

    def best(self) -> int:
        """The host to take: the first of the best, or by chance as the options say."""
        options = self._options
        if options.host_subset_size == 1 and not options.shuffle_best_same_weighed_hosts:
            return int(self._at[int(self._total.argmax())])
        order = self._shuffled(self._order(self.alive), options)
        subset = order[: max(1, options.host_subset_size)]
        return int(self._at[self._chance.choice(subset)])

    def _shuffled(self, order: list[int], options: Options) -> list[int]:
        if not options.shuffle_best_same_weighed_hosts:
            return order
        best = [one for one in order if self._total[one] == self._total[order[0]]]
        self._chance.shuffle(best)
        return best + order[len(best) :]

    def first(self, count: int, winner: int | None) -> list[int]:
        """The first `count` of the ranking, the `winner` before all others."""
        order = [int(self._at[one]) for one in self._order(min(count, self.alive))]
        if winner is None:
            return order
        return [winner, *(one for one in order if one != winner)][:count]

    def _order(self, count: int) -> list[int]:
        """Indices, best first, the earlier first among equals."""
        if count > 16:
            return [int(one) for one in np.argsort(-self._total, kind="stable")[:count]]
        total, found = self._total.copy(), []
        for _ in range(count):
            found.append(int(total.argmax()))
            total[found[-1]] = GONE
        return found

    def weights(self, position: int) -> dict[str, float]:
        """The host's scores by weigher; empty when it is the only one."""
        if self.alive < 2:
            return {}
        at = int(self._at.searchsorted(position))
        return {
            scale.rule.name: float(scale.scores[at])
            for scale in self._scales
            if scale.scores is not None
        }

    def drop(self, position: int) -> None:
        """The host does not fit any more."""
        at = int(self._at.searchsorted(position))
        if self._total[at] != GONE:
            self._drop([at])
            self._rescale()

    def keep(self, fits: Mask) -> None:
        """Drop the hosts that do not fit by a mask over the whole table."""
        stale = np.flatnonzero(~fits[self._at]).tolist()
        gone = set(self._gone)
        if new := [one for one in stale if one not in gone]:
            self._drop(new)
            self._rescale()

    def _drop(self, indices: list[int]) -> None:
        self._gone += indices
        self._total[indices] = GONE
        if not self.alive:
            return
        # What is gone has the values of one that is not, always: the ends are those of the others.
        other = int(self._total.argmax())
        for scale in self._scales:
            scale.values[self._gone] = scale.values[other]
            scale.stale = True

    def weigh_again(self, one: HostTable, position: int) -> None:
        """Weigh the host anew from a table of it alone."""
        at = int(self._at.searchsorted(position))
        if self._total[at] == GONE:
            return
        for scale in self._scales:
            column = scale.rule.weigh(one, self._spec, self._options)
            value = 0.0 if column is None else float(column[0])
            floor = scale.rule.floor
            scale.change(at, value if floor is None else max(value, floor), self._gone)
        self._rescale(at)

    def _rescale(self, at: int | None = None) -> None:
        if not self.alive:
            return
        moved = [scale for scale in self._scales if scale.moved()]
        for scale in self._scales:
            if scale in moved:
                scale.score()
            elif at is not None:
                scale.score_one(at)
        if moved or self.alive < 2:
            self._sum()
        elif at is not None:
            scores = [float(scale.scores[at]) for scale in self._scales if scale.scores is not None]
            self._total[at] = sum(scores, 0.0)
