"""A broker's URL: which kinds there are, what each may say, and how Celery wants to hear it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import SplitResult, parse_qsl, quote, urlsplit

from redis.backoff import NoBackoff
from redis.retry import Retry

from app.errors import Invalid

REDIS = ("redis", "rediss", "redis+socket", "sentinel")
RABBITMQ = ("amqp", "amqps")
_TLS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_cert_reqs", "ssl_check_hostname")
_QUERY = {
    "redis": (),
    "rediss": _TLS,
    "redis+socket": ("virtual_host",),
    "sentinel": ("master_name", "sentinel_password"),
    "amqp": (),
    "amqps": ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile"),
}


@dataclass(frozen=True)
class Address:
    """A broker's URL, taken apart: its kind, its servers, and what the query says of them all."""

    scheme: str
    servers: tuple[SplitResult, ...] = field(repr=False)
    query: dict[str, str] = field(repr=False)

    @property
    def is_redis(self) -> bool:
        """Whether it is a Redis, alone or under Sentinel."""
        return self.scheme in REDIS

    @property
    def names(self) -> list[str | None]:
        """The servers' host names; None for a socket."""
        return [server.hostname for server in self.servers]

    def celery_url(self) -> str:
        """The URL as Celery takes it, for messages and for results."""
        query = "&".join(f"{key}={quote(value)}" for key, value in self._celery_query().items())
        if self.scheme == "sentinel":
            first = self.servers[0]
            login = f"{first.netloc.rpartition('@')[0]}@" if "@" in first.netloc else ""
            where = [f"{login}{server.netloc.rpartition('@')[2]}" for server in self.servers]
            return ";".join(f"sentinel://{one}/{self.database()}" for one in where)
        return ";".join(_spelled(server, query) for server in self.servers)

    def _celery_query(self) -> dict[str, str]:
        if self.scheme == "rediss":
            return {"ssl_cert_reqs": "required", **self.query}
        return self.query if self.scheme == "redis+socket" else {}

    def sentinel_options(self, seconds: float, connect_seconds: float) -> dict[str, Any]:
        """What Celery's transport and result backend ask beside the URL of a Sentinel."""
        if self.scheme != "sentinel":
            return {}
        limits: dict[str, Any] = {
            "socket_timeout": seconds,
            "socket_connect_timeout": connect_seconds,
            "retry": Retry(NoBackoff(), 0),  # there are others to ask
        }
        if "sentinel_password" in self.query:
            limits["password"] = self.query["sentinel_password"]
        return {"master_name": self.query["master_name"], "sentinel_kwargs": limits}

    def database(self) -> int:
        """The number of the Redis database. Raises Invalid."""
        paths = [path for server in self.servers if (path := server.path.strip("/"))]
        path = "" if self.scheme == "redis+socket" else "".join(paths[:1])
        text = self.query.get("virtual_host", "").strip("/") or path or "0"
        if not text.isdecimal():
            raise Invalid(f"the Redis database in the URL is a number, not {text!r}")
        return int(text)

    def tls(self) -> dict[str, Any] | None:
        """The TLS options of a RabbitMQ; None without TLS (Redis has them in its URL)."""
        if self.scheme != "amqps":
            return None
        known = {name.removeprefix("ssl_"): value for name, value in self.query.items()}
        return {"cert_reqs": ssl.CERT_REQUIRED, "server_hostname": None, **known}


def _spelled(server: SplitResult, query: str) -> str:
    # urllib would write redis+socket:/path.
    return f"{server.scheme}://{server.netloc}{server.path}{'?' if query else ''}{query}"


def address(url: str) -> Address:
    """Take a URL apart. Raises Invalid for one that no broker has; its password is not told."""
    try:
        servers = tuple(urlsplit(part) for part in url.split(";"))
        ports = [server.port for server in servers]
    except ValueError as error:
        raise Invalid(f"the broker's URL has a server or port that cannot be: {error}") from error
    schemes = {server.scheme for server in servers}
    scheme = servers[0].scheme
    if len(schemes) > 1 or scheme not in _QUERY:
        known = ", ".join(f"{one}://" for one in _QUERY)
        raise Invalid(f"the broker's URL begins with {'; '.join(sorted(schemes))}: use {known}")
    if len(ports) > 1 and scheme not in ("sentinel", *RABBITMQ):
        raise Invalid(f"a {scheme}:// URL names one server: for several use sentinel://")
    query = {k: v for server in servers for k, v in parse_qsl(server.query)}
    if unknown := sorted(set(query) - set(_QUERY[scheme])):
        wanted = ", ".join(_QUERY[scheme]) or "none"
        raise Invalid(f"the {scheme}:// URL has unknown options {unknown}; there are: {wanted}")
    if scheme == "sentinel" and not query.get("master_name"):
        raise Invalid("a sentinel:// URL ends with ?master_name= and the name of the master")
    bare = tuple(server._replace(query="") for server in servers)
    return Address(scheme, bare, query)
