"""The cloud's own addresses, which no project's subnet may hold: hosts would route them astray."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from ipaddress import AddressValueError, IPv4Address, IPv4Network
from urllib.parse import urlsplit

from sqlalchemy import make_url, select
from sqlalchemy.orm import Session

from app import broker_url
from app.config import Settings
from app.models import Host


def of_settings(settings: Settings) -> list[IPv4Network]:
    """`reserved_networks`, and the literal addresses of broker, database and API.

    Raises Invalid for a setting that cannot be read.
    """
    urls = (settings.public_url, settings.api_url)
    names = [urlsplit(url).hostname for url in urls]
    for broker in (settings.broker_url, settings.results):
        names += broker_url.address(broker).names
    names.append(make_url(settings.database).host)
    return [*settings.reserved, *_literal(names)]


def of_hosts(session: Session) -> list[IPv4Network]:
    """The hosts' literal addresses."""
    return list(_literal(session.scalars(select(Host.address))))


def _literal(names: Iterable[str | None]) -> Iterator[IPv4Network]:
    for name in names:
        try:
            yield IPv4Network(IPv4Address(name or ""))
        except AddressValueError:
            continue  # a name, a socket, IPv6
