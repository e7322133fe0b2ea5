"""What workers posted in Redis, with how old it is by Redis' own clock."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import redis

from app.tasks import board
from app.tasks.board import Beat, ControlBeat, Posting


@dataclass(frozen=True)
class Posted:
    """All that is there; seconds throughout.

    `ages` are those of inventories, `skews` how far workers' clocks are ahead of Redis', `own_skew`
    this process'; a worker that does not tell its time has none. `refusals` are reasons by host
    and machine, `server` is Redis' INFO.
    """

    beats: Mapping[str, Beat]
    controls: Sequence[ControlBeat]
    inventories: Mapping[str, Posting]
    ages: Mapping[str, float]
    skews: Mapping[str, float]
    cloud_id: str | None
    refusals: Mapping[str, str]
    server: Mapping[str, Any]
    own_skew: float


def read() -> Posted:
    """Everything. Raises redis.RedisError."""
    client = board.client()
    began = time.time()
    told = _clock(client)
    own_skew = (began + time.time()) / 2 - told
    hosts = sorted(str(name) for name in cast("set[str]", client.smembers("hosts")))
    # Each age is read before what it is the age of: nothing is taken for newer than it is.
    ages = _ages(client, "inv", hosts, board.INVENTORY_TTL)
    inventories = {name: found for name in hosts if (found := board.inventory(name))}
    skews, beats = _beats(client, hosts)
    control_skews, controls = _controls(client)
    return Posted(
        beats={beat.host: beat for beat in beats},
        controls=controls,
        inventories=inventories,
        ages={name: ages.get(name, float(board.INVENTORY_TTL)) for name in inventories},
        skews=skews | control_skews,
        cloud_id=board.cloud_id(),
        refusals=_refusals(client),
        server=cast(Mapping[str, Any], client.info()),
        own_skew=own_skew,
    )


def _beats(client: redis.Redis, hosts: Sequence[str]) -> tuple[dict[str, float], list[Beat]]:
    before = _stored(client, "hb", hosts, board.BEAT_TTL)
    beats = board.beats()
    after = _stored(client, "hb", hosts, board.BEAT_TTL)
    said = {beat.host: beat.at for beat in beats}
    return {f"host worker {n}": skew for n, skew in _skews(said, before, after).items()}, beats


def _controls(client: redis.Redis) -> tuple[dict[str, float], list[ControlBeat]]:
    names = [one.name for one in board.controls()]
    before = _stored(client, "control", names, board.CONTROL_TTL)
    controls = board.controls()
    after = _stored(client, "control", names, board.CONTROL_TTL)
    said = {one.name: one.at for one in controls}
    return {f"scheduler worker {n}": s for n, s in _skews(said, before, after).items()}, controls


def _skews(
    said: Mapping[str, float], before: Mapping[str, float], after: Mapping[str, float]
) -> dict[str, float]:
    """How far each teller's clock is ahead; those that spoke anew meanwhile are left out."""
    return {
        name: at - before[name]
        for name, at in said.items()
        if at and name in before and abs(after.get(name, 0.0) - before[name]) < 0.5
    }


def _stored(client: redis.Redis, kind: str, names: Sequence[str], ttl: float) -> dict[str, float]:
    """When each key was set, by Redis' clock."""
    now = _clock(client)
    return {name: now - age for name, age in _ages(client, kind, names, ttl).items()}


def _ages(client: redis.Redis, kind: str, names: Sequence[str], ttl: float) -> dict[str, float]:
    """How long ago each key was set with `ttl` seconds to live."""
    with client.pipeline(transaction=False) as pipe:
        for name in names:
            pipe.pttl(f"{kind}:{name}")
        left = pipe.execute()
    return {n: ttl - ms / 1000.0 for n, ms in zip(names, left, strict=True) if ms > 0}


def _clock(client: redis.Redis) -> float:
    seconds, micros = cast("tuple[int, int]", client.time())
    return seconds + micros / 1e6


def _refusals(client: redis.Redis) -> dict[str, str]:
    keys = [str(key) for key in client.scan_iter(match="refused:*", count=1000)]
    texts = cast("list[Any]", client.mget(keys)) if keys else []
    found = zip(keys, texts, strict=True)
    return {key.removeprefix("refused:"): str(text) for key, text in found if text is not None}
