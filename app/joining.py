"""How a machine joins as a hypervisor: what it must show, and where it finds the cloud's parts."""

from __future__ import annotations

import ipaddress
import re
import time
from collections.abc import Sequence
from urllib.parse import SplitResult, urlsplit

from itsdangerous import BadData, URLSafeTimedSerializer

from app.broker_url import address
from app.config import Settings
from app.errors import Conflict, Invalid, Unauthorized

_SALT = "novella.host.join"
DEFAULT_MINUTES, LONGEST_MINUTES = 15, 24 * 60
HOST_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}"
"""What a host's name looks like: its queue, files and libvirt's names are made of it."""
FOR_HOSTS = ("beat_seconds", "session_seconds", "inventory_seconds", "shutdown_seconds")
"""Settings in which hosts follow the cloud."""
_HOST_NAME = re.compile(HOST_NAME)
_EVERYWHERE = ("0.0.0.0", "::")


def is_host_name(name: str) -> bool:
    """Whether a host may be called so."""
    return _HOST_NAME.fullmatch(name) is not None


def make_token(keys: Sequence[str], seconds: float) -> str:
    """A token with which machines may join during the next `seconds`. `keys`: newest first."""
    return str(_serializer(keys).dumps({"until": time.time() + seconds}))


def check_token(keys: Sequence[str], token: str) -> None:
    """Raises Unauthorized unless the token is this cloud's and has not expired."""
    try:
        until = float(_serializer(keys).loads(token)["until"])
    except (BadData, KeyError, TypeError, ValueError) as error:
        raise Unauthorized(
            "The join token is not one of this cloud: make one with `novella host token`."
        ) from error
    if until < time.time():
        raise Unauthorized("The join token has expired: make one with `novella host token`.")


def is_loopback(host: str | None) -> bool:
    """Whether only this machine itself is meant."""
    try:
        return host in (None, "", "localhost") or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def broker_for_hosts(settings: Settings, url: str, cloud_url: str) -> str:
    """The broker's URL `url` for a machine that reaches the API by `cloud_url`.

    `bin/up` lets its own Redis listen where the API does. Raises Conflict when no other machine
    can reach that broker.
    """
    found = address(url)
    try:
        api_host = urlsplit(cloud_url).hostname
    except ValueError as error:
        raise Invalid(f"Invalid input for field url: {error}") from error
    if not any(is_loopback(name) for name in found.names) or is_loopback(api_host):
        return url
    if is_loopback(settings.bind) or found.scheme != "redis":
        raise Conflict(
            "This cloud's broker listens on loopback only, so no other machine can join: set "
            "NOVELLA_BIND to an address that hosts reach (or broker_url and result_url to a "
            "broker and a Redis that they reach), and restart the cloud.",
            code="broker_on_loopback",
        )
    host = api_host if settings.bind in _EVERYWHERE else settings.bind
    parts = found.servers[0]
    return parts._replace(netloc=_at_host(parts, host or "")).geturl()


def _at_host(parts: SplitResult, host: str) -> str:
    credentials, at, _ = parts.netloc.rpartition("@")
    port = f":{parts.port}" if parts.port else ""
    return f"{credentials}{at}{f'[{host}]' if ':' in host else host}{port}"


def _serializer(keys: Sequence[str]) -> URLSafeTimedSerializer:
    # itsdangerous wants the newest key last: that one signs, all of them verify.
    return URLSafeTimedSerializer(list(reversed(keys)), salt=_SALT)
