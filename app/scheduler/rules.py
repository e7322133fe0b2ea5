"""What a filter and a weigher are: pure functions over the host table, and what to call them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from app.domain.request_spec import RequestSpec
from app.scheduler.host_table import Floats, HostTable, Mask
from app.scheduler.options import Options

Masking = Callable[[HostTable, RequestSpec, Options], "Mask | None"]
Weighing = Callable[[HostTable, RequestSpec, Options], "Floats | None"]


@dataclass(frozen=True)
class Filter:
    """A rule that hosts pass or not.

    `mask` gets a table and returns one bool per host, or None when every host passes. It depends
    on each host's own row and the request alone, so that only a picked host is looked at again
    between the servers of one request; `whole` says that it depends on the others too. `because`
    completes the sentence "3 of 5 hosts are …". `nova` is what Nova calls it. A `basic` one holds
    also for a host that an administrator forces.
    """

    name: str
    because: str
    mask: Masking
    nova: str = ""
    whole: bool = False
    basic: bool = False


@dataclass(frozen=True)
class Weigher:
    """A wish: one float per host, the more the better (the less, with a negative multiplier).

    `weigh` returns None when all are equal; like a filter's mask it looks at each host's own row
    alone. Values below `floor` count as `floor`, which is then the lower end of the scale. The
    multiplier is the setting's, or an aggregate's under `<name>_weight_multiplier`.
    """

    name: str
    weigh: Weighing
    multiplier: float = 1.0
    nova: str = ""
    floor: float | None = None
    sign: float = 1.0
