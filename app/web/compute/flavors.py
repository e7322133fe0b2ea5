"""Flavors: the sizes that servers come in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response, request

from app.models import Flavor
from app.store import flavors
from app.store.database import reading
from app.store.paging import Page
from app.web import context, query
from app.web.answers import answer
from app.web.api import Route
from app.web.compute import views
from app.web.compute.versions import ns

_PARAMS = {
    "is_public": "for administrators: true, false or None (both)",
    "minRam": "at least this much RAM in MiB",
    "minDisk": "at least this much disk in GiB",
    "sort_key": "flavorid (default), name, memory_mb, vcpus or root_gb",
    "sort_dir": "asc or desc",
    "limit": "at most 1000",
    "marker": "the last id of the page before",
}


def _listing(view: Callable[[Flavor, views.Audience], dict[str, Any]]) -> Response:
    public = request.args.get("is_public", "true").lower()
    wanted = flavors.FlavorQuery(
        is_public=None if public == "none" else query.flag("is_public") is not False,
        min_ram_mb=query.number("minRam", 0),
        min_disk_gb=query.number("minDisk", 0),
        sort_key=query.choice("sort_key", "flavorid", flavors.SORT_KEYS),
        page=Page(
            query.limit(),
            request.args.get("marker"),
            query.choice("sort_dir", "asc", ("asc", "desc")) == "desc",
        ),
    )
    to = views.audience()
    with reading() as session:
        found = flavors.page(session, context.caller(), wanted)
    body: dict[str, Any] = {"flavors": [view(flavor, to) for flavor in found]}
    if found and len(found) == wanted.page.limit:
        body["flavors_links"] = views.next_link(found[-1].id, wanted.page.limit)
    return answer(body)


@ns.route("/v2.1/flavors")
class Flavors(Route):
    policy = {"get": "os_compute_api:flavors:index"}

    @ns.doc(params=_PARAMS)
    def get(self) -> Response:
        """List flavors."""
        return _listing(views.flavor_short)


@ns.route("/v2.1/flavors/detail")
class FlavorsDetail(Route):
    policy = {"get": "os_compute_api:flavors:detail"}

    @ns.doc(params=_PARAMS)
    def get(self) -> Response:
        """List flavors with all they have."""
        return _listing(views.flavor)


@ns.route("/v2.1/flavors/<flavor_id>")
class OneFlavor(Route):
    policy = {"get": "os_compute_api:flavors:show"}

    def get(self, flavor_id: str) -> Response:
        """Show a flavor."""
        with reading() as session:
            found = flavors.get(session, context.caller(), flavor_id)
        return answer({"flavor": views.flavor(found, views.audience())})


@ns.route("/v2.1/flavors/<flavor_id>/os-extra_specs")
class FlavorExtraSpecs(Route):
    policy = {"get": "os_compute_api:os-flavor-extra-specs:index"}

    def get(self, flavor_id: str) -> Response:
        """Show a flavor's extra specs."""
        with reading() as session:
            found = flavors.get(session, context.caller(), flavor_id)
        return answer({"extra_specs": found.extra_specs})
