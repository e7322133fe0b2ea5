"""Domains, to read, and groups, of which there are none."""

from __future__ import annotations

from flask import Response, request

from app.store import domains
from app.store.database import reading
from app.web import context, query
from app.web.answers import answer
from app.web.api import Route
from app.web.identity import views
from app.web.identity.versions import ns
from app.web.shapes import identity as shapes
from app.web.shapes.parts import under


@ns.route("/v3/domains")
class Domains(Route):
    shows = {"get": shapes.listed("domains", shapes.DOMAIN)}
    policy = {"get": "identity:list_domains"}

    @ns.doc(params={"name": "exactly this", "enabled": "true or false"})
    def get(self) -> Response:
        """List domains."""
        base = context.base_url()
        with reading() as session:
            found = domains.listed(session, request.args.get("name"), query.flag("enabled"))
        return answer(views.listed("domains", [views.domain(row, base) for row in found], base))


@ns.route("/v3/domains/<domain_id>")
class OneDomain(Route):
    shows = {"get": under("domain", shapes.DOMAIN)}
    policy = {"get": "identity:get_domain"}

    def get(self, domain_id: str) -> Response:
        """Show a domain."""
        with reading() as session:
            found = domains.get(session, domain_id)
        return answer({"domain": views.domain(found, context.base_url())})


@ns.route("/v3/groups")
class Groups(Route):
    shows = {"get": shapes.none("groups")}
    policy = {"get": "identity:list_groups"}

    def get(self) -> Response:
        """List groups: there are none."""
        return answer(views.listed("groups", [], context.base_url()))
