"""Tokens: get one, look into one, give one back; and what one may be scoped to."""

from __future__ import annotations

from flask import Response, request

from app.errors import NotFound
from app.store import identity, revocations
from app.store.database import reading, transaction
from app.web import context, policy
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.identity import schemas, views
from app.web.identity.login import log_in
from app.web.identity.tokens import Token
from app.web.identity.versions import ns
from app.web.shapes import identity as shapes
from app.web.shapes.parts import NOTHING

SUBJECT = "X-Subject-Token"
_NAMED = {SUBJECT: {"in": "header", "description": "the token that this is about"}}


def _document(held: Token) -> dict[str, object]:
    base, region = context.base_url(), context.settings().region
    return views.token(held, base, region, with_catalog="nocatalog" not in request.args)


def _subject(rule: str) -> tuple[str, Token]:
    """The token asked about, when `rule` lets the caller deal with its user's tokens."""
    text = request.headers.get(SUBJECT, "")
    if not text:
        raise NotFound(f"The request needs the header {SUBJECT}.")
    held = context.web().tokens.look(text)
    if held is None:
        raise NotFound("Could not find token.")
    policy.require(rule, **{"target.token.user_id": held.user_id})
    return text, held


@ns.route("/v3/auth/tokens")
class AuthTokens(Route):
    shows = {"post": shapes.TOKEN, "get": shapes.TOKEN, "delete": NOTHING}
    policy = {"get": policy.INSIDE, "delete": policy.INSIDE}
    asks = {"get": ("identity:validate_token",), "delete": ("identity:revoke_token",)}
    public_methods = frozenset({"POST"})
    answers = {"post": (201,), "get": (200, 404), "delete": (204, 404)}
    keyless = "a token is no record, and a repeat has no project yet"

    @ns.doc(security=[])
    @documented(ns, schemas.AUTH)
    def post(self) -> Response:
        """Get a token by password, token or application credential; it is in X-Subject-Token."""
        held = log_in(body(schemas.AUTH)["auth"])
        headers = {SUBJECT: context.web().tokens.issue(held), "Vary": "X-Auth-Token"}
        return answer(_document(held), 201, headers)

    @ns.doc(params=_NAMED)
    def get(self) -> Response:
        """Look into a token, named by X-Subject-Token (HEAD only checks it)."""
        text, held = _subject("identity:validate_token")
        return answer(_document(held), 200, {SUBJECT: text, "Vary": "X-Auth-Token"})

    @ns.doc(params=_NAMED)
    def delete(self) -> Response:
        """Give a token back: within two seconds it is void everywhere."""
        _, held = _subject("identity:revoke_token")
        with transaction() as session:
            revocations.revoke(session, "token", held.id)
        context.web().tokens.revocations.expire()
        return nothing()


@ns.route("/v3/auth/catalog")
class AuthCatalog(Route):
    shows = {"get": shapes.ALL_SERVICES}
    policy = {"get": "identity:get_auth_catalog"}

    def get(self) -> Response:
        """Show the services and where they are."""
        base = context.base_url()
        shown = views.catalog(base, context.settings().region)
        return answer({"catalog": shown, "links": {"self": f"{base}/identity/v3/auth/catalog"}})


@ns.route("/v3/auth/projects")
class AuthProjects(Route):
    shows = {"get": shapes.listed("projects", shapes.PROJECT)}
    policy = {"get": "identity:get_auth_projects"}

    def get(self) -> Response:
        """List the projects that one's token can be scoped to."""
        base = context.base_url()
        with reading() as session:
            found = identity.projects_of(session, context.caller().user_id)
        return answer(views.listed("projects", [views.project(one, base) for one in found], base))


@ns.route("/v3/auth/domains")
class AuthDomains(Route):
    shows = {"get": shapes.none("domains")}
    policy = {"get": "identity:get_auth_domains"}

    def get(self) -> Response:
        """List the domains that one's token can be scoped to: there are none."""
        return answer(views.listed("domains", [], context.base_url()))


@ns.route("/v3/auth/system")
class AuthSystem(Route):
    shows = {"get": shapes.listed("system", shapes.SYSTEM)}
    policy = {"get": "identity:get_auth_system"}

    def get(self) -> Response:
        """Tell whether one's token can be scoped to the whole cloud."""
        with reading() as session:
            has_roles = bool(identity.system_roles(session, context.caller().user_id))
        shown = [{"all": True}] if has_roles else []
        return answer(views.listed("system", shown, context.base_url()))
