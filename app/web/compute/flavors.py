"""Flavors: the sizes that servers come in."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from flask import Response, request
from sqlalchemy.orm import Session

from app.errors import Invalid
from app.models import Flavor, new_id
from app.store import flavors
from app.store.database import reading, transaction
from app.store.paging import Page
from app.web import context, query
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body, is_true
from app.web.compute import resource_schemas as schemas
from app.web.compute import views
from app.web.compute.ranges import known_parameters
from app.web.compute.versions import ns
from app.web.microversions import since
from app.web.policy import allows
from app.web.shapes import compute as shapes
from app.web.shapes.parts import NOTHING

_PARAMS = {
    "is_public": "for administrators: true, false or None (both)",
    "minRam": "at least this much RAM in MiB",
    "minDisk": "at least this much disk in GiB",
    "sort_key": "flavorid (default), name, memory_mb, vcpus, root_gb …",
    "sort_dir": "asc or desc",
    "limit": "at most 1000",
    "marker": "the last id of the page before",
}
_NAME = {"name": "from 2.102: exactly this name"}
DESCRIBED, WITH_SPECS, NAMED = (2, 55), (2, 61), (2, 102)
_MOST = 2**31 - 1
_SPECS = "os_compute_api:os-flavor-extra-specs:index"


def _listing(view: Callable[[Flavor, views.Audience], dict[str, Any]]) -> Response:
    named = context.version() >= NAMED
    known_parameters(*_PARAMS, *(_NAME if named else ()))
    keys = [key for key in flavors.SORT_KEYS if not named or key != "rxtx_factor"]
    public = request.args.get("is_public", "true").lower()
    wanted = flavors.FlavorQuery(
        is_public=None if public == "none" else query.flag("is_public") is not False,
        min_ram_mb=query.number("minRam", 0),
        min_disk_gb=query.number("minDisk", 0),
        name=request.args.get("name") if named else None,
        sort_key=query.choice("sort_key", "flavorid", tuple(keys)),
        page=Page(
            query.limit(),
            request.args.get("marker"),
            query.choice("sort_dir", "asc", ("asc", "desc")) == "desc",
        ),
    )
    to = views.audience()
    with reading() as session:
        found = flavors.page(session, context.caller(), wanted)
    listed: dict[str, Any] = {"flavors": [view(flavor, to) for flavor in found]}
    if found and len(found) == wanted.page.limit:
        listed["flavors_links"] = views.next_link(found[-1].id, wanted.page.limit)
    return answer(listed)


def _whole() -> Callable[[Flavor, views.Audience], dict[str, Any]]:
    """The view of a flavor that this caller may see: from 2.61 with its extra specs."""
    if context.version() >= WITH_SPECS and allows(_SPECS):
        return views.flavor_with_specs
    return views.flavor


@ns.route("/v2.1/flavors")
class Flavors(Route):
    shows = {"get": shapes.FLAVORS, "post": shapes.ONE_FLAVOR}
    asks = {"post": (_SPECS,)}
    policy = {
        "get": "os_compute_api:flavors:index",
        "post": "os_compute_api:os-flavor-manage:create",
    }

    @ns.doc(params={**_PARAMS, **_NAME})
    def get(self) -> Response:
        """List flavors."""
        return _listing(views.flavor_short)

    @documented(ns, schemas.FLAVORS[-1])
    def post(self) -> Response:
        """Make a flavor; sizes in MiB (ram, swap) and GiB (disk, ephemeral)."""
        made = _new(body(schemas.flavor(context.version()))["flavor"])

        def work(session: Session) -> Response:
            flavors.add(session, made)
            return answer({"flavor": _whole()(made, views.audience())})

        return once(work)


def _new(wanted: dict[str, Any]) -> Flavor:
    given = wanted.get("id")
    return Flavor(
        id=new_id() if given in (None, "auto") else str(given),
        name=wanted["name"],
        description=wanted.get("description"),
        ram_mb=_whole_number(wanted, "ram", 1),
        vcpus=_whole_number(wanted, "vcpus", 1),
        disk_gb=_whole_number(wanted, "disk", 0),
        swap_mb=_whole_number(wanted, "swap", 0),
        ephemeral_gb=_whole_number(wanted, "OS-FLV-EXT-DATA:ephemeral", 0),
        rxtx_factor=_factor(wanted),
        is_public=is_true(wanted.get("os-flavor-access:is_public", True)),
        disabled=False,
        extra_specs={},
    )


def _whole_number(wanted: dict[str, Any], field: str, low: int) -> int:
    value = int(wanted.get(field, 0))
    if not low <= value <= _MOST:
        raise Invalid(
            f"Invalid input for field flavor.{field}: must be a whole number from {low} to {_MOST}"
        )
    return value


def _factor(wanted: dict[str, Any]) -> float:
    value = float(wanted.get("rxtx_factor", 1.0))
    if not 0 < value <= 3.40282e38 or math.isnan(value):
        raise Invalid("Invalid input for field flavor.rxtx_factor: must be more than 0")
    return value


@ns.route("/v2.1/flavors/detail")
class FlavorsDetail(Route):
    shows = {"get": shapes.FLAVORS_DETAIL}
    policy = {"get": "os_compute_api:flavors:detail"}
    asks = {"get": (_SPECS,)}

    @ns.doc(params={**_PARAMS, **_NAME})
    def get(self) -> Response:
        """List flavors with all they have."""
        return _listing(_whole())


@ns.route("/v2.1/flavors/<flavor_id>")
class OneFlavor(Route):
    shows = {"get": shapes.ONE_FLAVOR, "put": shapes.ONE_FLAVOR, "delete": NOTHING}
    versions = since(DESCRIBED, "put")
    asks = {"get": (_SPECS,), "put": (_SPECS,)}
    policy = {
        "get": "os_compute_api:flavors:show",
        "put": "os_compute_api:os-flavor-manage:update",
        "delete": "os_compute_api:os-flavor-manage:delete",
    }
    answers = {"delete": (202,)}

    def get(self, flavor_id: str) -> Response:
        """Show a flavor."""
        with reading() as session:
            found = flavors.get(session, context.caller(), flavor_id)
        return answer({"flavor": _whole()(found, views.audience())})

    @documented(ns, schemas.FLAVOR_CHANGE)
    def put(self, flavor_id: str) -> Response:
        """Describe a flavor."""
        wanted = body(schemas.FLAVOR_CHANGE)["flavor"]
        with transaction() as session:
            found = flavors.get(session, context.caller(), flavor_id, lock=True)
            found.description = wanted["description"]
        return answer({"flavor": _whole()(found, views.audience())})

    def delete(self, flavor_id: str) -> Response:
        """Forget a flavor; servers keep their copies of it."""
        with transaction() as session:
            flavors.remove(session, context.caller(), flavor_id)
        return nothing(202)
