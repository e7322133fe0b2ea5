"""A flavor's extra specs: keys and values that hosts, or an operator's own tools, understand."""

from __future__ import annotations

import re
from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from app.domain import extra_specs
from app.errors import Invalid
from app.store import flavors
from app.store.database import reading, transaction
from app.web import context
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body
from app.web.compute import resource_schemas as schemas
from app.web.compute.versions import ns
from app.web.shapes import compute as shapes
from app.web.shapes.parts import NOTHING

VALIDATED = (2, 86)


def _checked(given: dict[str, Any]) -> dict[str, str]:
    """Values as text; from 2.86 held against what is known of their keys. Raises Invalid."""
    specs = {key: value if isinstance(value, str) else str(value) for key, value in given.items()}
    for key, value in specs.items():
        if len(value) > 255:
            raise Invalid("Invalid input for field extra_specs: is longer than 255 characters")
        if context.version() >= VALIDATED:
            extra_specs.check(key, value)
    return specs


@ns.route("/v2.1/flavors/<flavor_id>/os-extra_specs")
class FlavorExtraSpecs(Route):
    shows = {"get": shapes.EXTRA_SPECS, "post": shapes.EXTRA_SPECS}
    policy = {
        "get": "os_compute_api:os-flavor-extra-specs:index",
        "post": "os_compute_api:os-flavor-extra-specs:create",
    }

    def get(self, flavor_id: str) -> Response:
        """Show a flavor's extra specs."""
        with reading() as session:
            found = flavors.get(session, context.caller(), flavor_id)
        return answer({"extra_specs": found.extra_specs})

    @documented(ns, schemas.EXTRA_SPECS)
    def post(self, flavor_id: str) -> Response:
        """Add or replace extra specs."""
        given = _checked(body(schemas.EXTRA_SPECS)["extra_specs"])

        def work(session: Session) -> Response:
            flavors.set_specs(session, context.caller(), flavor_id, given)
            return answer({"extra_specs": given})

        return once(work)


@ns.route("/v2.1/flavors/<flavor_id>/os-extra_specs/<key>")
class FlavorExtraSpec(Route):
    shows = {"get": shapes.ONE_SPEC, "put": shapes.ONE_SPEC, "delete": NOTHING}
    policy = {
        "get": "os_compute_api:os-flavor-extra-specs:show",
        "put": "os_compute_api:os-flavor-extra-specs:update",
        "delete": "os_compute_api:os-flavor-extra-specs:delete",
    }
    answers = {"delete": (200,)}

    def get(self, flavor_id: str, key: str) -> Response:
        """Show one extra spec."""
        with reading() as session:
            value = flavors.spec(flavors.get(session, context.caller(), flavor_id), key)
        return answer({key: value})

    @documented(ns, schemas.EXTRA_SPEC)
    def put(self, flavor_id: str, key: str) -> Response:
        """Add or replace one extra spec."""
        given = body(schemas.EXTRA_SPEC)
        if key not in given or not re.fullmatch(schemas.SPEC_KEY, key):
            raise Invalid("Request body and URI mismatch: the body's key is not the path's")
        given = _checked(given)
        with transaction() as session:
            flavors.set_specs(session, context.caller(), flavor_id, given)
        return answer(given)

    def delete(self, flavor_id: str, key: str) -> Response:
        """Forget one extra spec."""
        with transaction() as session:
            flavors.remove_spec(session, context.caller(), flavor_id, key)
        return nothing(200)
