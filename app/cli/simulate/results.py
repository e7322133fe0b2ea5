"""What came of each policy, over all seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from app.cli.simulate.policies import Named
from app.scheduler.simulation import Outcome
from app.scheduler.simulation_figures import Moment

Figure = Callable[[Moment], float]


@dataclass(frozen=True)
class Result:
    """One policy's outcomes, by seed."""

    named: Named
    outcomes: dict[int, Outcome]

    def refusals(self) -> dict[str, float]:
        """Of all hosts that were refused to servers that fitted nowhere, each filter's share."""
        summed = sum((one.refused_by for one in self.outcomes.values()), Counter[str]())
        total = summed.total()
        return {name: count / total for name, count in summed.most_common() if count}

    def ends(self, figure: Figure) -> list[float]:
        """The figure at the end, for each seed."""
        return [figure(one.end) for one in self.outcomes.values()]

    def rates(self) -> list[float]:
        """Decisions a second, for each seed."""
        return [
            one.decisions / one.seconds if one.seconds else 0.0 for one in self.outcomes.values()
        ]

    def as_json(self) -> list[dict[str, Any]]:
        """An object for each seed."""
        return [
            {
                "policy": self.named.label,
                "settings": self.named.settings,
                "seed": seed,
                "decisions": one.decisions,
                "seconds": one.seconds,
                "largest_flavor": one.largest.flavor_name if one.largest else None,
                "refused_by_filter": dict(one.refused_by),
                "refused_by_flavor": dict(one.refused_flavors),
                "end": one.end.as_json(),
                "moments": [moment.as_json() for moment in one.moments],
            }
            for seed, one in self.outcomes.items()
        ]
