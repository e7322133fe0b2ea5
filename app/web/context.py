"""What a request carries besides its path and body, and what the process holds for all."""

from __future__ import annotations

from dataclasses import dataclass, field
from ipaddress import IPv4Network
from typing import TYPE_CHECKING, cast

from flask import current_app, g, request

from app.config import Settings
from app.domain.caller import Caller
from app.errors import Unauthorized
from app.web.identity.tokens import KeyRing, Token, Tokens
from app.web.keystone import configured
from app.web.policy.judge import Judge
from app.web.v1.watcher import Watcher

if TYPE_CHECKING:
    from app.web.extending.loading import Extensions
    from app.web.keystone.callers import Keystone


@dataclass
class Web:
    """The parts that live as long as the process."""

    settings: Settings
    keys: KeyRing
    tokens: Tokens
    watcher: Watcher
    judge: Judge
    reserved: list[IPv4Network]
    for_tenants: list[IPv4Network]
    extensions: Extensions
    keystone: Keystone | None = None
    noauth: dict[str, Token] = field(default_factory=dict)


def web() -> Web:
    """The process's parts."""
    return cast(Web, current_app.extensions["novella"])


def settings() -> Settings:
    """The process's settings."""
    return web().settings


def caller() -> Caller:
    """Who asks; raises Unauthorized on a route that let the request in without a token."""
    if "caller" not in g:
        raise Unauthorized("The request you have made requires authentication.")
    return cast(Caller, g.caller)


def token() -> Token:
    """The token that came with the request."""
    caller()
    return cast(Token, g.token)


def request_id() -> str:
    """This request's id, `req-` and a UUID."""
    return cast(str, g.get("request_id", ""))


def version() -> tuple[int, int]:
    """The compute microversion asked for."""
    return cast(tuple[int, int], g.get("version", (2, 1)))


def service() -> str:
    """The service that the path belongs to: identity, compute, image, network, v1 or another."""
    return request.path.split("/", 2)[1]


def base_url() -> str:
    """Scheme and host as clients reach us, without a slash at the end."""
    return (settings().public_url or request.host_url).rstrip("/")


def identity_url() -> str:
    """Where clients get tokens: our own Identity or the operator's Keystone, without a version."""
    if settings().auth == "keystone":
        return configured.clients_url(settings())
    return f"{base_url()}/identity"
