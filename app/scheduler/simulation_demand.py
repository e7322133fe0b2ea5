"""Who asks a simulated cloud for servers, when, and for how long they stay."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.domain.request_spec import RequestSpec
from app.domain.resources import Resources
from app.errors import Invalid
from app.scheduler.host_table import Floats

FOR_GOOD = math.inf
CLASSIC = (
    ("m1.tiny", Resources(1, 512, 1), 25.0),
    ("m1.small", Resources(1, 2048, 20), 35.0),
    ("m1.medium", Resources(2, 4096, 40), 20.0),
    ("m1.large", Resources(4, 8192, 80), 15.0),
    ("m1.xlarge", Resources(8, 16384, 160), 5.0),
)
"""Nova's classic five, with the share of each among the servers asked for."""


@dataclass(frozen=True)
class Arrival:
    """A request for as many equal servers as it has lifetimes (in seconds, `FOR_GOOD` for ever).

    `at` is in seconds after the start.
    """

    at: float
    spec: RequestSpec
    lifetimes: tuple[float, ...]


@dataclass(frozen=True)
class Mix:
    """Kinds of servers with their weights: each is asked for in proportion to its own."""

    specs: tuple[RequestSpec, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.specs or len(self.specs) != len(self.weights):
            raise Invalid("the mix of flavors is empty")
        if any(not 0 <= one < math.inf for one in self.weights) or not any(self.weights):
            raise Invalid("the mix of flavors: weights are numbers from 0, and not all of them 0")

    def drawn(self, count: int, chance: np.random.Generator) -> list[RequestSpec]:
        """`count` kinds at random."""
        shares = np.array(self.weights) / sum(self.weights)
        return [self.specs[one] for one in chance.choice(len(self.specs), count, p=shares)]


def classic() -> Mix:
    """The mix of `CLASSIC`."""
    specs = tuple(RequestSpec(wanted, flavor_name=name) for name, wanted, _ in CLASSIC)
    return Mix(specs, tuple(weight for _, _, weight in CLASSIC))


@dataclass(frozen=True)
class Pace:
    """How fast servers are asked for and how long they stay.

    `rate` in servers a second; `lifetime` is the mean of an exponential distribution, in seconds;
    requests of `size` servers each come as a Poisson process, so that the rate stays the same.
    """

    rate: float = 1.0
    lifetime: float = FOR_GOOD
    size: int = 1


def arrivals(mix: Mix, servers: int, pace: Pace, chance: np.random.Generator) -> list[Arrival]:
    """Requests for `servers` in all, by time; the last may be for fewer than the others."""
    requests = math.ceil(servers / pace.size)
    times = np.cumsum(chance.exponential(pace.size / pace.rate, requests))
    specs = mix.drawn(requests, chance)
    stays = lifetimes(servers, pace.lifetime, chance)
    found = []
    for number, (at, spec) in enumerate(zip(times.tolist(), specs, strict=True)):
        part = stays[number * pace.size : (number + 1) * pace.size]
        found.append(Arrival(at, spec, tuple(part.tolist())))
    return found


def lifetimes(count: int, mean: float, chance: np.random.Generator) -> Floats:
    """So many lifetimes from an exponential distribution; all `FOR_GOOD` when its mean is."""
    drawn = chance.exponential(1.0, count)
    return np.full(count, FOR_GOOD) if math.isinf(mean) else drawn * mean


def kinds(requests: Sequence[Arrival]) -> tuple[RequestSpec, ...]:
    """The different kinds of servers that are asked for, in order of their first request.

    Two are the same kind when they want the same resources under the same flavor's name.
    """
    found = {(one.spec.flavor_name, one.spec.resources): one.spec for one in reversed(requests)}
    return tuple(reversed(found.values()))
