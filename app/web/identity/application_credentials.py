"""Application credentials."""

from __future__ import annotations

import secrets
import time
import uuid
from typing import Any

from flask import Response, request
from sqlalchemy.orm import Session

from app.errors import Forbidden, Invalid
from app.models import ApplicationCredential
from app.store import application_credentials, identity, users
from app.store.database import reading, transaction
from app.web import context, times
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.identity import schemas, views
from app.web.identity.users import about
from app.web.identity.versions import ns
from app.web.policy import INSIDE
from app.web.shapes import identity as shapes
from app.web.shapes.parts import NOTHING

_KEY = "application_credential"


@ns.route("/v3/users/<user_id>/application_credentials")
class ApplicationCredentials(Route):
    shows = {
        "get": shapes.listed("application_credentials", shapes.CREDENTIAL),
        "post": shapes.CREDENTIAL_MADE,
    }
    policy = {"get": INSIDE, "post": INSIDE}
    answers = {"post": (201,)}
    asks = {
        "get": ("identity:list_application_credentials",),
        "post": ("identity:create_application_credential",),
    }

    @ns.doc(params={"name": "exactly this"})
    def get(self, user_id: str) -> Response:
        """List a user's application credentials, without their secrets."""
        about("identity:list_application_credentials", user_id)
        base = context.base_url()
        with reading() as session:
            users.get(session, user_id)
            found = application_credentials.listed(session, user_id, request.args.get("name"))
            names = application_credentials.role_names(session, found)
        shown = [views.application_credential(row, names, base) for row in found]
        return answer(views.listed("application_credentials", shown, base))

    @documented(ns, schemas.NEW_CREDENTIAL)
    def post(self, user_id: str) -> Response:
        """Make one for the token's project, with some of its roles; the secret is shown once."""
        about("identity:create_application_credential", user_id)
        _refuse_restricted()
        wanted = body(schemas.NEW_CREDENTIAL)[_KEY]
        secret = wanted.get("secret") or secrets.token_urlsafe(64)
        made = ApplicationCredential(
            id=uuid.uuid4().hex,
            user_id=user_id,
            project_id=_project(wanted),
            name=wanted["name"],
            description=wanted.get("description") or "",
            roles=_roles(wanted.get("roles") or []),
            unrestricted=bool(wanted.get("unrestricted")),
            expires_at=_expiry(wanted.get("expires_at")),
            secret_hash=identity.hash_password(secret),
        )

        def work(session: Session) -> Response:
            application_credentials.add(session, made)
            names = dict(context.token().roles)
            shown = views.application_credential(made, names, context.base_url(), secret)
            return answer({_KEY: shown}, 201)

        return once(work)


@ns.route("/v3/users/<user_id>/application_credentials/<credential_id>")
class OneApplicationCredential(Route):
    shows = {"get": shapes.ONE_CREDENTIAL, "delete": NOTHING}
    policy = {"get": INSIDE, "delete": INSIDE}
    asks = {
        "get": ("identity:get_application_credential",),
        "delete": ("identity:delete_application_credential",),
    }

    def get(self, user_id: str, credential_id: str) -> Response:
        """Show an application credential, without its secret."""
        about("identity:get_application_credential", user_id)
        with reading() as session:
            found = application_credentials.get(session, user_id, credential_id)
            names = application_credentials.role_names(session, [found])
        return answer({_KEY: views.application_credential(found, names, context.base_url())})

    def delete(self, user_id: str, credential_id: str) -> Response:
        """Remove an application credential; tokens that it got are void."""
        about("identity:delete_application_credential", user_id)
        _refuse_restricted()
        with transaction() as session:
            application_credentials.remove(session, user_id, credential_id)
        context.web().tokens.revocations.expire()
        return nothing()


def _refuse_restricted() -> None:
    if context.token().is_restricted:
        raise Forbidden(
            "A token from a restricted application credential may not make or remove others."
        )


def _project(wanted: dict[str, Any]) -> str:
    project_id = context.caller().project_id
    if not project_id:
        raise Forbidden("This needs a token that is scoped to a project.")
    if wanted.get("project_id") not in (None, project_id):
        raise Invalid(f"Invalid input for field {_KEY}.project_id: is not the token's project")
    return project_id


def _roles(wanted: list[dict[str, Any]]) -> list[str]:
    """The ids of the roles asked for, all of the token's unless some are. Raises Invalid."""
    held = context.token().roles
    by_name = {name: id_ for id_, name in held}
    chosen = [one.get("id") or by_name.get(one.get("name", "")) for one in wanted]
    ids = {id_ for id_, _ in held}
    for position, role_id in enumerate(chosen):
        if role_id not in ids:
            raise Invalid(
                f"Invalid input for field {_KEY}.roles.{position}: not a role of this token"
            )
    return sorted({id_ for id_ in chosen if id_} or ids)


def _expiry(text: str | None) -> float | None:
    if text is None:
        return None
    at = times.parse(text, f"Invalid input for field {_KEY}.expires_at")
    if at <= time.time():
        raise Invalid(f"Invalid input for field {_KEY}.expires_at: is not in the future")
    return at
