"""Faults on demand for the fake driver: the setting `fake_faults`.

A comma-separated list of `[host/]step=when[!]`. `step` is a method of the driver (`spawn`,
`commit`, `start`, `stop`, `reboot`, `pause`, `unpause`, `suspend`, `wake`, `rebuild`,
`rescue`, `unrescue`, `inject_nmi`, `set_password`, `attach`, `detach`, `snapshot`,
`has_agent`, `diagnostics`, `destroy`, `inventory`, `facts`, `open`, `healthy`, `console_log`,
`cache_image`) or `spawn.late`, after the disk has been made. `when` is a probability from 0 to 1,
`once`, `always`, or `N*` for the first N calls. A trailing `!` makes the fault final; without it
another host may try. Example: `spawn=0.1,n3/spawn.late=always,commit=once!`.
"""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass

from app.errors import HostFault, Invalid


@dataclass
class _Rule:
    probability: float
    left: int | None
    retriable: bool


class Faults:
    """The rules of one host; thread-safe."""

    def __init__(self, rules: str, host_name: str) -> None:
        """Parse `rules`. Raises Invalid for one that cannot be read."""
        self._lock = threading.Lock()
        self._rules: dict[str, _Rule] = {}
        for part in filter(None, (part.strip() for part in rules.split(","))):
            where, equals, when = part.partition("=")
            host, slash, step = where.rpartition("/")
            if not equals or not step:
                raise Invalid(f"setting fake_faults: {part!r} is not [host/]step=when")
            if not slash or host == host_name:
                self._rules[step] = _rule(part, when)

    def check(self, step: str) -> None:
        """Raise HostFault code="fake_fault" when `step` is due to fail."""
        with self._lock:
            rule = self._rules.get(step)
            if rule is None or rule.left == 0 or random.random() >= rule.probability:
                return
            if rule.left is not None:
                rule.left -= 1
        raise HostFault(f"fake fault in {step}", code="fake_fault", retriable=rule.retriable)


def _rule(part: str, when: str) -> _Rule:
    final = when.endswith("!")
    when = when.rstrip("!")
    if when in ("once", "always"):
        return _Rule(1.0, 1 if when == "once" else None, not final)
    try:
        if when.endswith("*"):
            return _Rule(1.0, int(when[:-1]), not final)
        return _Rule(float(when), None, not final)
    except ValueError as error:
        raise Invalid(f"setting fake_faults: {part!r}: {when!r} is no probability") from error
