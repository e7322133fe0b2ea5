"""Key pairs: public keys that new servers let in."""

from __future__ import annotations

from flask import Response, request

from app.errors import Invalid
from app.models import Keypair
from app.store import keypairs
from app.store.database import reading, transaction
from app.store.paging import Page
from app.web import context, query
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.compute import schemas, sshkeys, views
from app.web.compute.versions import ns
from app.web.policy import INSIDE, require


def _owner(verb: str, given: str | None) -> str:
    """Whose keys are meant: one's own, or (from 2.10) another's for whom the policy lets."""
    own = context.caller().user_id
    owner = own if given is None or context.version() < (2, 10) else given
    require(f"os_compute_api:os-keypairs:{verb}", user_id=owner)
    return owner


@ns.route("/v2.1/os-keypairs")
class Keypairs(Route):
    policy = {"get": INSIDE, "post": INSIDE}

    @ns.doc(params={"user_id": "for administrators, from 2.10: whose keys"})
    def get(self) -> Response:
        """List one's key pairs."""
        with reading() as session:
            owner = _owner("index", request.args.get("user_id"))
            found = keypairs.page(session, owner, Page(query.PAGE_LIMIT))
        to = views.audience()
        return answer({"keypairs": [{"keypair": views.keypair(row, to)} for row in found]})

    @documented(ns, schemas.KEYPAIR)
    def post(self) -> Response:
        """Keep a public key, or make a pair: then the private key is in the answer only."""
        wanted = body(schemas.KEYPAIR)["keypair"]
        if wanted.get("type", "ssh") != "ssh" or _unknown(wanted):
            raise Invalid(
                "Invalid input for field keypair: only name, public_key, type ssh "
                "(from 2.2) and user_id (from 2.10)"
            )
        private, public = None, wanted.get("public_key")
        if public is None:
            private, public = sshkeys.generate("Generated-by-Novella")
        row = Keypair(
            user_id=_owner("create", wanted.get("user_id")),
            name=wanted["name"],
            public_key=public,
            fingerprint=sshkeys.fingerprint(public),
            type="ssh",
        )
        with transaction() as session:
            keypairs.add(session, context.caller(), row)
        status = 201 if context.version() >= (2, 2) else 200
        return answer({"keypair": views.keypair_made(row, private, views.audience())}, status)


def _unknown(wanted: dict[str, str]) -> bool:
    version = context.version()
    return ("type" in wanted and version < (2, 2)) or ("user_id" in wanted and version < (2, 10))


@ns.route("/v2.1/os-keypairs/<name>")
class OneKeypair(Route):
    policy = {"get": INSIDE, "delete": INSIDE}

    def get(self, name: str) -> Response:
        """Show a key pair's public key."""
        with reading() as session:
            found = keypairs.get(session, _owner("show", request.args.get("user_id")), name)
        return answer({"keypair": views.keypair_whole(found, views.audience())})

    def delete(self, name: str) -> Response:
        """Forget a key pair; servers keep their copies of it."""
        with transaction() as session:
            keypairs.remove(session, _owner("delete", request.args.get("user_id")), name)
        return nothing(204 if context.version() >= (2, 2) else 202)
