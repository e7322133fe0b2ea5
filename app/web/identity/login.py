"""From credentials to a token: one method per function, registered by its name."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.errors import Invalid, Unauthorized
from app.models import Domain, User
from app.store import identity
from app.store.database import reading
from app.store.identity import Ref
from app.web import context
from app.web.identity.tokens import DENIED, Token


@dataclass(frozen=True)
class Proven:
    """A user who has shown who they are. `until` bounds the new token's life, when set."""

    user: User
    domain: Domain
    methods: tuple[str, ...]
    until: float | None = None
    project: Ref | None = None


Method = Callable[[dict[str, Any]], Proven]


def password(given: dict[str, Any]) -> Proven:
    """A user's name or id, and the password."""
    if "password" not in given:
        raise Invalid("Invalid input for field auth.identity.password: missing")
    wanted = given["password"]["user"]
    with reading() as session:
        found = identity.find_user(session, _ref(wanted, "user"))
    # Checked without a user too, so that the time does not tell who exists.
    stored = found[0].password_hash if found else None
    if not identity.password_matches(stored, wanted["password"]) or found is None:
        raise Unauthorized(DENIED)
    return Proven(*found, methods=("password",), project=_default_project(found[0]))


def token(given: dict[str, Any]) -> Proven:
    """A token that the user has, to be scoped anew; the new one lives no longer."""
    if "token" not in given:
        raise Invalid("Invalid input for field auth.identity.token: missing")
    held = context.web().tokens.read(given["token"]["id"])
    with reading() as session:
        found = identity.find_user(session, Ref(id=held.user_id))
    if found is None:
        raise Unauthorized(DENIED)
    methods = tuple(dict.fromkeys((*held.methods, "token")))
    return Proven(*found, methods=methods, until=held.expires_at)


METHODS: dict[str, Method] = {"password": password, "token": token}


def log_in(auth: dict[str, Any]) -> Token:
    """A token for what `auth` (a checked body's) proves and asks for."""
    given = auth["identity"]
    unknown = [name for name in given["methods"] if name not in METHODS]
    if unknown:
        raise Unauthorized(DENIED)
    proven = [METHODS[name](given) for name in given["methods"]]
    if len({one.user.id for one in proven}) != 1:
        raise Unauthorized(DENIED)
    with reading() as session:
        return _scoped(session, proven[0], auth.get("scope"))


def _scoped(session: Session, proven: Proven, scope: Any) -> Token:
    asked = _asked_project(scope)
    wanted = asked or (proven.project if scope is None else None)
    project, roles = None, []
    if wanted is not None:
        project = identity.find_project(session, wanted)
        roles = identity.roles_on(session, proven.user.id, project[0].id) if project else []
        if not roles:
            if asked is not None:
                raise Unauthorized(DENIED)
            project = None  # the user's default project is no longer theirs: unscoped
    now = time.time()
    ends = now + context.settings().token_seconds
    return Token(
        id=uuid.uuid4().hex,
        user_id=proven.user.id,
        user_name=proven.user.name,
        user_domain=(proven.domain.id, proven.domain.name),
        project_id=project[0].id if project else None,
        project_name=project[0].name if project else "",
        project_domain=(project[1].id, project[1].name) if project else ("", ""),
        roles=tuple(roles),
        methods=proven.methods,
        issued_at=now,
        expires_at=min(ends, proven.until or ends),
    )


def _asked_project(scope: Any) -> Ref | None:
    if scope is None or scope == "unscoped":
        return None
    if "project" not in scope:
        raise Unauthorized("Only tokens that are scoped to a project are issued here.")
    return _ref(scope["project"], "project")


def _default_project(user: User) -> Ref | None:
    return Ref(id=user.default_project_id) if user.default_project_id else None


def _ref(given: dict[str, Any], what: str) -> Ref:
    if "id" in given:
        return Ref(id=given["id"])
    domain = given.get("domain", {})
    if "name" not in given or not domain:
        raise Invalid(f"Invalid input for field {what}: needs an id, or a name and a domain")
    return Ref(name=given["name"], domain_id=domain.get("id"), domain_name=domain.get("name"))
