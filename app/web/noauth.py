"""The `noauth` mode: everybody is the administrator. Allowed on loopback addresses only."""

from __future__ import annotations

import ipaddress
import time

from app.config import Settings
from app.errors import Invalid, Unavailable
from app.store import database, identity
from app.web import context
from app.web.identity.tokens import Token


def check(settings: Settings) -> None:
    """Raise Invalid when the settings would open the cloud to the network."""
    if settings.auth == "noauth" and not _is_loopback(settings.bind):
        raise Invalid(f"setting auth: noauth needs a loopback address to bind, not {settings.bind}")


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def token() -> Token:
    """The administrator's, on the project `admin`. Raises Unavailable before the first start."""
    cached = context.web().noauth
    if "admin" not in cached:
        cached["admin"] = _made()
    return cached["admin"]


def _made() -> Token:
    ref = identity.Ref(name="admin", domain_id="default")
    with database.reading() as session:
        user, project = identity.find_user(session, ref), identity.find_project(session, ref)
        if user is None or project is None:
            raise Unavailable("the cloud has no project and user called admin yet")
        roles = identity.roles_on(session, user[0].id, project[0].id)
    return Token(
        id="noauth",
        user_id=user[0].id,
        user_name=user[0].name,
        user_domain=(user[1].id, user[1].name),
        project_id=project[0].id,
        project_name=project[0].name,
        project_domain=(project[1].id, project[1].name),
        roles=tuple(roles),
        methods=("none",),
        issued_at=time.time(),
        expires_at=float("inf"),
    )
