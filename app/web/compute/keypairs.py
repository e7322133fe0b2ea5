"""Key pairs: public keys that new servers let in."""

from __future__ import annotations

from typing import Any

from flask import Response, request
from sqlalchemy.orm import Session

from app.models import Keypair
from app.store import keypairs
from app.store.database import reading, transaction
from app.store.paging import Page
from app.web import context, query
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.compute import certificates, sshkeys, views
from app.web.compute import resource_schemas as schemas
from app.web.compute.ranges import known_parameters
from app.web.compute.versions import ns
from app.web.keystone import meeting
from app.web.policy import INSIDE, require
from app.web.shapes import compute as shapes
from app.web.shapes.parts import NOTHING

TYPED, OF_USERS, PAGED = (2, 2), (2, 10), (2, 35)
_USER = {"user_id": "for administrators, from 2.10: whose keys"}
_PAGE = {"limit": "from 2.35: at most 1000", "marker": "from 2.35: the last name before"}


_RULE = "os_compute_api:os-keypairs:"


def _owner(verb: str, given: str | None) -> str:
    """Whose keys are meant: one's own, or (from 2.10) another's for whom the policy lets."""
    own = context.caller().user_id
    owner = own if given is None or context.version() < OF_USERS else given
    require(_RULE + verb, user_id=owner)
    return owner


@ns.route("/v2.1/os-keypairs")
class Keypairs(Route):
    shows = {"get": shapes.KEYPAIRS, "post": shapes.KEYPAIR_MADE}
    policy = {"get": INSIDE, "post": INSIDE}
    answers = {"post": (200, 201)}
    asks = {"get": (f"{_RULE}index",), "post": (f"{_RULE}create",)}

    @ns.doc(params={**_USER, **_PAGE})
    def get(self) -> Response:
        """List one's key pairs."""
        owner = _owner("index", request.args.get("user_id"))
        known_parameters(*_USER, *_PAGE)
        paged = context.version() >= PAGED
        page = Page(query.limit(), request.args.get("marker")) if paged else Page(query.PAGE_LIMIT)
        with reading() as session:
            found = keypairs.page(session, owner, page)
        to = views.audience()
        listed: dict[str, Any] = {
            "keypairs": [{"keypair": views.keypair(row, to)} for row in found]
        }
        if paged and found and len(found) == page.limit:
            listed["keypairs_links"] = views.next_link(found[-1].name, page.limit)
        return answer(listed)

    @documented(ns, schemas.KEYPAIRS[-1])
    def post(self) -> Response:
        """Keep a public key, or make a pair: then the private key is in the answer only."""
        version = context.version()
        wanted = body(schemas.keypair(version))["keypair"]
        owner = _owner("create", wanted.get("user_id"))
        meeting.user(owner)
        kind, private, public = wanted.get("type", "ssh"), None, wanted.get("public_key")
        forge = certificates if kind == "x509" else sshkeys
        if public is None:
            private, public = forge.generate(owner if kind == "x509" else "Generated-by-Novella")
        row = Keypair(
            user_id=owner,
            name=wanted["name"],
            public_key=public,
            fingerprint=forge.fingerprint(public),
            type=kind,
        )

        def work(session: Session) -> Response:
            keypairs.add(session, context.caller(), row)
            status = 201 if version >= TYPED else 200
            return answer({"keypair": views.keypair_made(row, private, views.audience())}, status)

        return once(work)


@ns.route("/v2.1/os-keypairs/<name>")
class OneKeypair(Route):
    shows = {"get": shapes.ONE_KEYPAIR, "delete": NOTHING}
    policy = {"get": INSIDE, "delete": INSIDE}
    answers = {"delete": (202, 204)}
    asks = {"get": (f"{_RULE}show",), "delete": (f"{_RULE}delete",)}

    @ns.doc(params=_USER)
    def get(self, name: str) -> Response:
        """Show a key pair's public key."""
        owner = _owner("show", request.args.get("user_id"))
        known_parameters(*_USER)
        with reading() as session:
            found = keypairs.get(session, owner, name)
        return answer({"keypair": views.keypair_whole(found, views.audience())})

    @ns.doc(params=_USER)
    def delete(self, name: str) -> Response:
        """Forget a key pair; servers keep their copies of it."""
        owner = _owner("delete", request.args.get("user_id"))
        known_parameters(*_USER)
        with transaction() as session:
            keypairs.remove(session, owner, name)
        return nothing(204 if context.version() >= TYPED else 202)
