"""Reading live progress, as hosts post it into the result backend."""

from __future__ import annotations

import json
from collections.abc import Iterable

import redis

from app.tasks import board

PREFIX = "celery-task-meta-"


def live(ids: Iterable[str]) -> dict[str, tuple[int, str]]:
    """(percent, message) of those actions that a host works on; {} when Redis is away."""
    wanted = list(ids)
    if not wanted:
        return {}
    try:
        texts = board.client().mget([PREFIX + action_id for action_id in wanted])
    except redis.RedisError:
        return {}
    found = {}
    for action_id, text in zip(wanted, texts, strict=True):
        meta = json.loads(str(text)) if text else {}
        if meta.get("status") == "PROGRESS":
            found[action_id] = (int(meta["result"]["percent"]), str(meta["result"]["message"]))
    return found
