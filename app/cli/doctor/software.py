"""Versions, the services that the cloud stands on, and clocks."""

from __future__ import annotations

from collections.abc import Iterator

import kombu

from app.broker import AWAY
from app.broker_url import address
from app.cli.doctor.evidence import Evidence
from app.cli.doctor.finding import Finding
from app.cli.doctor.postings import Posted
from app.config import settings, software
from app.domain.message import newest
from app.redaction import redact_text

NEEDED = {"redis": (6, 2), "rabbitmq": (3, 10), "postgresql": (13,), "sqlite": (3, 35)}
SKEW_SECONDS = 2.0
CONNECT_SECONDS = 3.0


def check(seen: Evidence) -> list[Finding]:
    """The database, the broker, Redis, the workers' releases, and everybody's clock."""
    rows, posted = seen.rows, seen.posted
    found = [*_old(rows.kind, rows.version), *_broker()]
    if abs(rows.clock_ahead) > SKEW_SECONDS:
        found.append(_skew("the database", "this machine", rows.clock_ahead))
    if posted is None:
        return found
    return [*found, *_redis(seen, posted), *_releases(posted), *_clocks(posted)]


def _old(kind: str, version: tuple[int, ...]) -> Iterator[Finding]:
    needed = NEEDED.get(kind)
    if needed is not None and version < needed:
        text = f"is {_dotted(version)}; {_dotted(needed)} or newer is needed"
        yield Finding("too_old", kind, text, "upgrade it")


def _broker() -> Iterator[Finding]:
    """RabbitMQ, when it is the broker; Redis is looked at in any case."""
    found = address(settings().broker_url)
    if found.is_redis:
        return
    try:
        with kombu.Connection(
            found.celery_url(), ssl=found.tls() or False, connect_timeout=CONNECT_SECONDS
        ) as connection:
            told = connection.connection.server_properties
    except AWAY as error:
        text = f"does not answer: {redact_text(str(error)) or type(error).__name__}"
        todo = "requests are accepted meanwhile, and carried out when it is back: see its log"
        yield Finding("broker_away", "RabbitMQ", text, todo)
        return
    yield from _old("rabbitmq", _parsed(str(told.get("version", ""))))


def _redis(seen: Evidence, posted: Posted) -> Iterator[Finding]:
    told = posted.server
    yield from _old("redis", _parsed(str(told.get("redis_version", ""))))
    policy = told.get("maxmemory_policy", "noeviction")
    if policy != "noeviction":
        text = f"its maxmemory-policy is {policy}: it throws heartbeats and messages away when full"
        todo = "set maxmemory-policy to noeviction in redis.conf, and by CONFIG SET"
        yield Finding("redis_evicts", "Redis", text, todo)
    if posted.cloud_id is not None and posted.cloud_id != seen.rows.cloud_id:
        text = f"belongs to the cloud {posted.cloud_id}; this one is {seen.rows.cloud_id}"
        todo = "two clouds cannot share a Redis database: give one of them another"
        yield Finding("cloud_id", "Redis", text, todo)


def _releases(posted: Posted) -> Iterator[Finding]:
    ours = software()
    workers = {f"host worker {name}": beat.software for name, beat in posted.beats.items()}
    workers |= {f"scheduler worker {one.name}": one.software for one in posted.controls}
    for worker, theirs in sorted(workers.items()):
        if ours and theirs != ours:
            text = f"is Novella {theirs or 'of before versions were told'}; this is {ours}"
            yield Finding("release", worker, text, "upgrade it to one release", warning=True)
    for name, beat in sorted(posted.beats.items()):
        if beat.speaks != newest():
            text = f"knows messages up to version {beat.speaks}, this release up to {newest()}"
            todo = "both work meanwhile; bring it to one release"
            yield Finding("speaks", f"host worker {name}", text, todo, warning=True)


def _clocks(posted: Posted) -> Iterator[Finding]:
    skews = {"this machine": posted.own_skew, **posted.skews}
    for who, ahead in sorted(skews.items()):
        if abs(ahead) > SKEW_SECONDS:
            yield _skew(who, "Redis", ahead)


def _skew(who: str, other: str, ahead: float) -> Finding:
    text = f"is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} {other}"
    todo = "tokens and time limits are by these clocks: let NTP set them"
    return Finding("clock", f"clock of {who}", text, todo)


def _parsed(version: str) -> tuple[int, ...]:
    parts = version.split("-")[0].split(".")
    return tuple(int(part) for part in parts if part.isdecimal())


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version)) or "of unknown version"
