"""What only Redis knows of the cloud's work: how often doorbells were rung.

Counted where it happens, best effort: who counts never waits for it, and a flushed Redis begins
at 0 again, which Prometheus takes for a restart. Everything else that is measured stands in the
database anyway (`store.figures`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import cast

import redis

from app.tasks import board

RINGS = "metering:rings"
CLEANUP = "cleanup"
"""What rings for cleanups are counted as; others are by stage."""


def count_rings(stages: Sequence[str]) -> None:
    """Count rings that the sweep has sent, one for each of `stages`."""
    if not stages:
        return
    with suppress(redis.RedisError), board.client().pipeline(transaction=False) as pipe:
        for stage, count in sorted(Counter(stages).items()):
            pipe.hincrby(RINGS, stage, count)
        pipe.execute()


def rings(client: redis.Redis) -> dict[str, int]:
    """Rings by stage since Redis began. Raises redis.RedisError."""
    found = cast(Mapping[str, str], client.hgetall(RINGS))
    return {stage: int(count) for stage, count in found.items()}
