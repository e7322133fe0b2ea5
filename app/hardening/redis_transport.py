"""The Redis transport, whose channels say that their connection is gone in Redis' own words.

When a connection ends, kombu takes the channel's way back to its client away. An ack, a reject or
a restore that comes later finds `None` there, and the AttributeError ends the worker. Whatever
they do needs a connection pool first, so one guard where its parameters are made is enough: a
ConnectionError, which Celery expects, logs and survives.
"""

from __future__ import annotations

from typing import Any

from kombu.transport import TRANSPORT_ALIASES
from kombu.transport import redis as stock
from redis.exceptions import ConnectionError as RedisConnectionError


class Guarded:
    """What both channels need; mixed in before kombu's."""

    connection: Any

    def _connparams(self, asynchronous: bool = False) -> dict[str, Any]:
        if getattr(self.connection, "client", None) is None:
            raise RedisConnectionError("the channel's connection to the broker is gone")
        found: dict[str, Any] = super()._connparams(asynchronous)  # type: ignore[misc]
        return found


class Channel(Guarded, stock.Channel):
    """A channel to a Redis server."""


class SentinelChannel(Guarded, stock.SentinelChannel):
    """A channel to the master that Sentinels name."""


class Transport(stock.Transport):
    """redis:// and rediss://."""

    Channel = Channel


class SentinelTransport(stock.SentinelTransport):
    """sentinel://."""

    Channel = SentinelChannel


def install() -> None:
    """Put our transports under their URLs' schemes.

    Not by a setting: kombu looks a scheme up again when it moves on to the next of several URLs.
    """
    for scheme in ("redis", "rediss"):
        TRANSPORT_ALIASES[scheme] = f"{__name__}:Transport"
    TRANSPORT_ALIASES["sentinel"] = f"{__name__}:SentinelTransport"
