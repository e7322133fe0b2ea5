"""The broker by its URL: what Celery, our own Redis clients and probes need to know to use it.

Redis (`redis://`, `rediss://`, `redis+socket://`), Redis under Sentinel (`sentinel://`), RabbitMQ
(`amqp://`, `amqps://`). The forms are in docs/operating.md.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import unquote, urlencode

import amqp
import kombu
import redis
from amqp.exceptions import MessageNacked
from kombu.exceptions import KombuError
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from app import rabbitmq
from app.broker_url import Address, address
from app.config import Settings, settings
from app.errors import Invalid

AWAY = (KombuError, redis.RedisError, amqp.AMQPError, MessageNacked, OSError)
"""What publishing, posting and asking raise when the broker is away."""
SECONDS, CONNECT_SECONDS = 2.0, 1.0
"""How long who must not hang with the broker waits for an answer, and for a connection."""
WORKER_SECONDS, WORKER_CONNECT_SECONDS = 10.0, 2.0


def _once() -> Retry:
    """Once more at once when a kept connection turns out to be gone, and no waiting."""
    return Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,))


def redis_client(
    url: str, seconds: float = SECONDS, connect_seconds: float = CONNECT_SECONDS
) -> redis.Redis:
    """A client of that Redis which waits at most so long for an answer, and for a connection."""
    found = address(url)
    if not found.is_redis:
        raise Invalid(f"{found.scheme}:// is no Redis: set result_url to one")
    limits: dict[str, Any] = {
        "socket_timeout": seconds,
        "socket_connect_timeout": connect_seconds,
        "decode_responses": True,
        "retry": _once(),
    }
    if found.scheme == "sentinel":
        return _master(found, limits)
    if found.scheme == "redis+socket":
        server = found.servers[0]
        del limits["socket_connect_timeout"]
        password = unquote(server.password) if server.password else None
        return redis.Redis(
            unix_socket_path=server.path, db=found.database(), password=password, **limits
        )
    query = urlencode(found.query, safe="/")
    return redis.Redis.from_url(found.servers[0]._replace(query=query).geturl(), **limits)


def _master(found: Address, limits: dict[str, Any]) -> redis.Redis:
    seconds, connect_seconds = limits["socket_timeout"], limits["socket_connect_timeout"]
    sentinel = Sentinel(
        [(server.hostname, server.port or 26379) for server in found.servers],
        sentinel_kwargs=found.sentinel_options(seconds, connect_seconds)["sentinel_kwargs"],
    )
    logins = [server for server in found.servers if server.password]
    if logins:
        limits["password"] = unquote(logins[0].password or "")
    if logins and logins[0].username:
        limits["username"] = unquote(logins[0].username)
    return sentinel.master_for(found.query["master_name"], db=found.database(), **limits)


def transport_options(url: str, publishing: bool) -> dict[str, Any]:
    """Kombu's options for this broker; `publishing`: of who must not wait for it."""
    found = address(url)
    seconds, connect_seconds = (
        (SECONDS, CONNECT_SECONDS) if publishing else (WORKER_SECONDS, WORKER_CONNECT_SECONDS)
    )
    if not found.is_redis:
        return {"confirm_publish": True, "read_timeout": seconds, "write_timeout": seconds}
    made: dict[str, Any] = {
        "priority_steps": [0],
        "socket_timeout": seconds,
        "socket_connect_timeout": connect_seconds,
    }
    made |= {"max_retries": 0, "interval_start": 0} if publishing else {"health_check_interval": 15}
    return made | found.sentinel_options(seconds, connect_seconds)


def celery_settings(configured: Settings, publishing: bool) -> dict[str, Any]:
    """Celery's settings that depend on which broker it is. Raises Invalid for a wrong URL."""
    found = address(configured.broker_url)
    made: dict[str, Any] = {
        "broker_url": found.celery_url(),
        "broker_transport_options": transport_options(configured.broker_url, publishing),
        "broker_connection_timeout": CONNECT_SECONDS if publishing else WORKER_CONNECT_SECONDS,
        "broker_use_ssl": found.tls(),
        "worker_disable_prefetch": found.is_redis,
    }
    if not found.is_redis:
        rabbitmq.register()
        made |= {
            "broker_heartbeat": rabbitmq.HEARTBEAT_SECONDS,
            # Once more when a kept connection is gone: the sweep rings what does not get through.
            "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0},
            "task_queues": rabbitmq.control_queues(),
        }
    return made


def messaging(url: str) -> str | None:
    """The class that Celery makes its queues with; None for its own."""
    return None if address(url).is_redis else f"{rabbitmq.__name__}:NamedQueues"


def publishing_options(url: str) -> dict[str, Any]:
    """Options of each message to a queue by its name.

    On Redis such a queue is a list that needs no declaring; to declare it all the same would be
    five more commands a message.
    """
    return {"declare": []} if address(url).is_redis else {}


def result_url(configured: Settings) -> str:
    """Where Celery keeps results. Raises Invalid when that is no Redis."""
    found = address(configured.results)
    if not found.is_redis:
        raise Invalid("RabbitMQ keeps no results: set result_url to a Redis (NOVELLA_RESULT_URL)")
    return found.celery_url()


def result_options(configured: Settings) -> dict[str, Any]:
    """Celery's options for where it keeps results."""
    found = address(configured.results)
    options = found.sentinel_options(WORKER_SECONDS / 2, WORKER_CONNECT_SECONDS)
    return {"retry_policy": {"timeout": WORKER_SECONDS / 2}, **options}


class Probe:
    """What one process asks the broker: does it answer, how long are its queues? Thread-safe.

    Raises one of AWAY after at most `seconds` for each answer.
    """

    def __init__(self, url: str, seconds: float = SECONDS) -> None:
        found = address(url)
        connect_seconds = min(seconds, CONNECT_SECONDS)
        self._redis = redis_client(url, seconds, connect_seconds) if found.is_redis else None
        self._amqp = None if found.is_redis else _connection(found, seconds, connect_seconds)
        self._lock = threading.Lock()

    def ping(self) -> None:
        """Raises one of AWAY unless the broker answers."""
        if self._redis is not None:
            self._redis.ping()
            return
        with self._channel():
            pass

    def lengths(self, queues: Sequence[str]) -> dict[str, int]:
        """How many messages wait in each of these queues; 0 for one that nobody has made."""
        if self._redis is not None:
            with self._redis.pipeline(transaction=False) as pipe:
                for queue in queues:
                    pipe.llen(queue)
                return dict(zip(queues, pipe.execute(), strict=True))
        return {queue: self._length(queue) for queue in queues}

    def close(self) -> None:
        """Let the connection go."""
        if self._redis is not None:
            self._redis.close()
        if self._amqp is not None:
            with self._lock:
                self._amqp.collect(CONNECT_SECONDS)

    def _length(self, queue: str) -> int:
        with self._channel() as channel:
            try:
                return int(channel.queue_declare(queue, passive=True).message_count)
            except amqp.NotFound:
                return 0

    @contextmanager
    def _channel(self) -> Iterator[Any]:
        assert self._amqp is not None
        with self._lock:
            try:
                with self._amqp.channel() as channel:
                    yield channel
            except AWAY:
                self._amqp.collect(CONNECT_SECONDS)  # whatever it is, the next one begins anew
                raise


def _connection(found: Address, seconds: float, connect_seconds: float) -> kombu.Connection:
    rabbitmq.register()
    return kombu.Connection(
        found.celery_url(),
        ssl=found.tls() or False,
        connect_timeout=connect_seconds,
        transport_options={"read_timeout": seconds, "write_timeout": seconds},
    )


@functools.cache
def _probe(url: str) -> Probe:
    return Probe(url)


def queue_length(queue: str) -> int:
    """How many messages wait in a queue of our broker. Raises one of AWAY within seconds."""
    return _probe(settings().broker_url).lengths([queue])[queue]
