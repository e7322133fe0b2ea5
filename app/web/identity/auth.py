"""Tokens: get one, look into one, give one back; and what one may be scoped to."""

from __future__ import annotations

import time

from flask import Response, request

from app.errors import Forbidden, NotFound
from app.store import identity
from app.store.database import reading, transaction
from app.web import context
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.identity import schemas, views
from app.web.identity.login import log_in
from app.web.identity.tokens import Revoked, Token
from app.web.identity.versions import ns

SUBJECT = "X-Subject-Token"


def _document(held: Token) -> dict[str, object]:
    base, region = context.base_url(), context.settings().region
    return views.token(held, base, region, with_catalog="nocatalog" not in request.args)


def _subject() -> tuple[str, Token]:
    """The token asked about: one's own, or any for an admin."""
    text = request.headers.get(SUBJECT, "")
    if not text:
        raise NotFound(f"The request needs the header {SUBJECT}.")
    held = context.web().tokens.look(text)
    if held is None:
        raise NotFound("Could not find token.")
    caller = context.caller()
    if held.user_id != caller.user_id and not caller.is_admin:
        raise Forbidden("You are not authorized to look into this token.")
    return text, held


@ns.route("/v3/auth/tokens")
class AuthTokens(Route):
    policy = {"get": "identity:validate_token", "delete": "identity:revoke_token"}
    public_methods = frozenset({"POST"})

    @ns.doc(security=[])
    @documented(ns, schemas.AUTH)
    def post(self) -> Response:
        """Get a token by password or by another token; it comes in X-Subject-Token."""
        held = log_in(body(schemas.AUTH)["auth"])
        headers = {SUBJECT: context.web().tokens.issue(held), "Vary": "X-Auth-Token"}
        return answer(_document(held), 201, headers)

    def get(self) -> Response:
        """Look into a token, named by X-Subject-Token (HEAD only checks it)."""
        text, held = _subject()
        return answer(_document(held), 200, {SUBJECT: text, "Vary": "X-Auth-Token"})

    def delete(self) -> Response:
        """Give a token back: within two seconds it is void everywhere."""
        _, held = _subject()
        with transaction() as session:
            identity.revoke(session, "token", held.id, held.expires_at)
        context.web().tokens.revocations.add(Revoked("token", held.id, time.time()))
        return nothing()


@ns.route("/v3/auth/catalog")
class AuthCatalog(Route):
    policy = {"get": "identity:get_auth_catalog"}

    def get(self) -> Response:
        """Show the services and where they are."""
        base = context.base_url()
        shown = views.catalog(base, context.settings().region)
        return answer({"catalog": shown, "links": {"self": f"{base}/identity/v3/auth/catalog"}})


@ns.route("/v3/auth/projects")
class AuthProjects(Route):
    policy = {"get": "identity:get_auth_projects"}

    def get(self) -> Response:
        """List the projects that one's token can be scoped to."""
        base = context.base_url()
        with reading() as session:
            found = identity.projects_of(session, context.caller().user_id)
        links = {"self": f"{base}/identity/v3/auth/projects", "previous": None, "next": None}
        return answer({"projects": [views.project(one, base) for one in found], "links": links})
