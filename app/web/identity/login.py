"""From credentials to a token: one method per function, registered by its name."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from app.errors import Invalid, Unauthorized
from app.models import ApplicationCredential, Domain, Project, User
from app.store import application_credentials, identity, revocations
from app.store.database import reading
from app.store.identity import Ref
from app.web import context
from app.web.identity.tokens import DENIED, Token


@dataclass(frozen=True)
class Proven:
    """A user who has shown who they are, and by what: it is looked at again before a token is made.

    `password_hash` is what the password matched; `held` the token that was shown;
    `credential_id` an application credential, whose project and roles are all there is to get.
    """

    user_id: str
    methods: tuple[str, ...]
    password_hash: str | None = None
    held: Token | None = None
    credential_id: str | None = None


Method = Callable[[dict[str, Any]], Proven]


def password(given: dict[str, Any]) -> Proven:
    """A user's name or id, and the password."""
    wanted = _part(given, "password")["user"]
    with reading() as session:
        found = identity.find_user(session, _ref(wanted, "user"))
    # Checked without a user too, so that the time does not tell who exists.
    stored = found[0].password_hash if found else None
    if not identity.password_matches(stored, wanted["password"]) or found is None:
        raise Unauthorized(DENIED)
    return Proven(found[0].id, ("password",), password_hash=stored)


def token(given: dict[str, Any]) -> Proven:
    """A token that the user has, to be scoped anew; the new one lives no longer."""
    held = context.web().tokens.read(_part(given, "token")["id"], fresh=True)
    methods = tuple(dict.fromkeys((*held.methods, "token")))
    credential_id = held.credential[0] if held.credential is not None else None
    return Proven(held.user_id, methods, held=held, credential_id=credential_id)


def application_credential(given: dict[str, Any]) -> Proven:
    """A credential's id, or its name and its user; and its secret."""
    wanted = _part(given, "application_credential")
    with reading() as session:
        found = _credential(session, wanted)
    stored = found.secret_hash if found else None
    if not identity.password_matches(stored, wanted["secret"]) or found is None:
        raise Unauthorized(DENIED)
    return Proven(found.user_id, ("application_credential",), credential_id=found.id)


METHODS: dict[str, Method] = {
    "password": password,
    "token": token,
    "application_credential": application_credential,
}


def log_in(auth: dict[str, Any]) -> Token:
    """A token for what `auth` (a checked body's) proves and asks for."""
    given, scope = auth["identity"], auth.get("scope")
    methods = list(dict.fromkeys(given["methods"]))
    if any(name not in METHODS for name in methods):
        raise Unauthorized(DENIED)
    if "application_credential" in methods and (len(methods) > 1 or scope is not None):
        raise Unauthorized("An application credential goes with no other method and no scope.")
    proven = [METHODS[name](given) for name in methods]
    if len({one.user_id for one in proven}) != 1:
        raise Unauthorized(DENIED)
    # A token's limits hold also when more than the token was shown.
    first = next((one for one in proven if one.held is not None), proven[0])
    every = tuple(dict.fromkeys(name for one in proven for name in one.methods))
    with reading() as session:
        return _issued(session, replace(first, methods=every), scope)


def _issued(session: Session, proven: Proven, scope: Any) -> Token:
    """What is revoked is read before the facts, so that what changes in between voids the token."""
    place = _place(session, proven, scope)
    target = revocations.SYSTEM if place.is_system else place.project_id or ""
    seen = revocations.newest(session, proven.user_id, place.project_id, target)
    user, domain = _still(session, proven)
    used = _usable(session, proven, place)
    project, roles = _scoped(session, proven, place, used)
    now = time.time()
    ends = [now + context.settings().token_seconds]
    ends += [proven.held.expires_at] if proven.held is not None else []
    ends += [used.expires_at] if used is not None and used.expires_at is not None else []
    held = proven.held
    return Token(
        id=uuid.uuid4().hex,
        user_id=user.id,
        user_name=user.name,
        user_domain=(domain.id, domain.name),
        project_id=project[0].id if project else None,
        project_name=project[0].name if project else "",
        project_domain=(project[1].id, project[1].name) if project else ("", ""),
        roles=tuple(roles),
        methods=proven.methods,
        issued_at=now,
        expires_at=min(ends),
        is_system=place.is_system,
        seen=seen if held is None else (min(seen[0], held.seen[0]), *seen[1:]),
        chain=(held.chain or held.id) if held is not None else "",
        credential=(used.id, used.name, used.unrestricted) if used is not None else None,
    )


@dataclass(frozen=True)
class _Place:
    """What a token is to be scoped to; `is_asked`: by the request, so that nothing else will do."""

    project_id: str | None = None
    is_system: bool = False
    is_asked: bool = False


def _place(session: Session, proven: Proven, scope: Any) -> _Place:
    asked = scope is not None and scope != "unscoped"
    if asked and "domain" in scope:
        raise Unauthorized("Tokens for a domain are not given here: ask for a project or system.")
    if asked and "system" in scope:
        return _Place(is_system=True, is_asked=True)
    if asked:
        found = identity.find_project(session, _ref(scope["project"], "project"))
        if found is None:
            raise Unauthorized(DENIED)
        return _Place(found[0].id, is_asked=True)
    if proven.credential_id is not None and scope is None:
        used = application_credentials.find(session, proven.credential_id)
        return _Place(used.project_id if used else None, is_asked=True)
    user = identity.find_user(session, Ref(id=proven.user_id)) if scope is None else None
    return _Place(user[0].default_project_id if user else None)


def _still(session: Session, proven: Proven) -> tuple[User, Domain]:
    session.expunge_all()  # what was read above is to be read anew
    found = identity.find_user(session, Ref(id=proven.user_id))
    changed = found is None or proven.password_hash not in (None, found[0].password_hash)
    if found is None or changed:
        raise Unauthorized(DENIED)
    return found


def _usable(session: Session, proven: Proven, place: _Place) -> ApplicationCredential | None:
    if proven.credential_id is None:
        return None
    found = application_credentials.find(session, proven.credential_id)
    if found is None or application_credentials.is_over(session, found):
        raise Unauthorized(DENIED)
    if place.project_id != found.project_id:
        raise Unauthorized("An application credential is good for its own project only.")
    return found


def _scoped(
    session: Session, proven: Proven, place: _Place, used: ApplicationCredential | None
) -> tuple[tuple[Project, Domain] | None, list[tuple[str, str]]]:
    if place.is_system:
        project, roles = None, identity.system_roles(session, proven.user_id)
    elif place.project_id is None:
        return None, []
    else:
        project = identity.find_project(session, Ref(id=place.project_id))
        roles = identity.roles_on(session, proven.user_id, place.project_id) if project else []
    if used is not None and roles:
        roles = application_credentials.roles(session, used)
    if roles:
        return project, roles
    if place.is_asked:
        raise Unauthorized(DENIED)
    return None, []  # the user's default project is no longer theirs: unscoped


def _credential(session: Session, wanted: dict[str, Any]) -> ApplicationCredential | None:
    if "id" in wanted:
        return application_credentials.find(session, wanted["id"])
    if "name" not in wanted or "user" not in wanted:
        raise Invalid(
            "Invalid input for field auth.identity.application_credential: "
            "needs an id, or a name and a user"
        )
    user = identity.find_user(session, _ref(wanted["user"], "user"))
    found = application_credentials.listed(session, user[0].id, wanted["name"]) if user else []
    return found[0] if found else None


def _part(given: dict[str, Any], method: str) -> dict[str, Any]:
    if method not in given:
        raise Invalid(f"Invalid input for field auth.identity.{method}: missing")
    part: dict[str, Any] = given[method]
    return part


def _ref(given: dict[str, Any], what: str) -> Ref:
    if "id" in given:
        return Ref(id=given["id"])
    domain = given.get("domain", {})
    if "name" not in given or not domain:
        raise Invalid(f"Invalid input for field {what}: needs an id, or a name and a domain")
    return Ref(name=given["name"], domain_id=domain.get("id"), domain_name=domain.get("name"))
