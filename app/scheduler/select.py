"""Choose hosts for one request, or say why there is none."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from app.domain.request_spec import RequestSpec
from app.scheduler.host_table import HostTable, Mask
from app.scheduler.policy import DEFAULT, Policy
from app.scheduler.ranking import Ranking
from app.scheduler.rules import Filter


@dataclass(frozen=True)
class Selection:
    """For each server that fits, its host and alternates, best first.

    `refused` counts, for the first server that fits nowhere (else the first of all), how many of
    the `hosts` each filter refused; `because` completes its sentences. `weights` are the
    winners' scores by weigher.
    """

    picks: list[list[str]] = field(default_factory=list)
    refused: dict[str, int] = field(default_factory=dict)
    hosts: int = 0
    weights: list[dict[str, float]] = field(default_factory=list)
    because: Mapping[str, str] = field(default_factory=dict)

    def explained(self, number: int | None = None) -> dict[str, Any]:
        """What is kept of the decision: for one of the picks, or for those that fit nowhere."""
        found: dict[str, Any] = {"refused": self.refused, "hosts": self.hosts}
        if number is not None:
            found |= {"host": self.picks[number][0], "weights": self.weights[number]}
        return found

    def sentence(self) -> str:
        """The refusal as a person reads it."""
        if not self.hosts:
            return "no host has joined this cloud yet: start a worker on a hypervisor"
        counts = [(name, count) for name, count in self.refused.items() if count]
        reasons = ", ".join(
            f"{count} {'is' if count == 1 else 'are'} {self.because.get(name, name)}"
            for name, count in counts
        )
        return f"0 of {self.hosts} hosts fit: {reasons}"


def select(
    hosts: HostTable,
    spec: RequestSpec,
    count: int,
    alternates: int,
    policy: Policy = DEFAULT,
    chance: random.Random | None = None,
) -> Selection:
    """Pick hosts for `count` equal servers, one after the other, counting what each takes.

    `hosts` is consumed, and its `members` are the group's. Stops at the first server that fits
    nowhere. Alternates are ranked once, after the last pick.
    """
    rules = _applied(policy, spec)
    if spec.group is not None:
        hosts.set_members(spec.group.members)
    fits, refused = judged(hosts, spec, rules, policy)
    ranking = Ranking(hosts, spec, policy, fits, chance or random.Random())
    picks: list[int] = []
    weights = []
    ranked: list[int] = []
    while len(picks) < count and ranking.alive:
        single = len(picks) == 0
        position = ranking.best()
        weights.append(ranking.weights(position))
        if single:
            ranked = ranking.first(alternates + 1, position)
        hosts.take(position, spec.resources)
        picks.append(position)
        if len(picks) < count:
            _again(hosts, spec, rules, policy, ranking, position)
    if len(picks) > 1 and alternates:
        if len(picks) == count:
            _again(hosts, spec, rules, policy, ranking, picks[-1])
        ranked = ranking.first(alternates + 1, None)
    if len(picks) < count:
        _, refused = judged(hosts, spec, rules, policy)
    names = hosts.names
    others = [[one for one in ranked if one != pick][:alternates] for pick in picks]
    return Selection(
        [[names[one] for one in (pick, *rest)] for pick, rest in zip(picks, others, strict=True)],
        refused,
        len(hosts),
        weights,
        {rule.name: rule.because for rule in policy.filters},
    )


def judged(
    hosts: HostTable, spec: RequestSpec, rules: tuple[Filter, ...], policy: Policy
) -> tuple[Mask, dict[str, int]]:
    """Which hosts fit, and how many each filter is the first to refuse."""
    fits: Mask = np.ones(len(hosts), dtype=bool)
    refused: dict[str, int] = {}
    left = len(hosts)
    for rule in rules:
        passed = rule.mask(hosts, spec, policy.options)
        if passed is not None:
            fits &= passed
        now = left if passed is None else int(np.count_nonzero(fits))
        refused[rule.name] = left - now
        left = now
    return fits, refused


def _applied(policy: Policy, spec: RequestSpec) -> tuple[Filter, ...]:
    if spec.forced_host is None:
        return policy.filters
    return tuple(rule for rule in policy.filters if rule.basic)


def _again(
    hosts: HostTable,
    spec: RequestSpec,
    rules: tuple[Filter, ...],
    policy: Policy,
    ranking: Ranking,
    position: int,
) -> None:
    """Look again at what one more server on the host at `position` may have changed."""
    one = hosts.at(position)
    fits = True
    for rule in rules:
        passed = rule.mask(hosts if rule.whole else one, spec, policy.options)
        if passed is None:
            continue
        if rule.whole:
            ranking.keep(passed)
        else:
            fits = fits and bool(passed[0])
    if fits:
        ranking.weigh_again(one, position)
    else:
        ranking.drop(position)
