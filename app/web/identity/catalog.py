"""Services, endpoints and regions: what the catalog of every token says, one by one."""

from __future__ import annotations

from flask import Response, request

from app.errors import NotFound
from app.web import context
from app.web.answers import answer
from app.web.api import Route
from app.web.identity import views
from app.web.identity.versions import ns
from app.web.shapes import identity as shapes
from app.web.shapes.parts import under


def _services() -> list[views.Json]:
    return views.services(context.base_url())


def _endpoints() -> list[views.Json]:
    return views.endpoints(context.base_url(), context.settings().region)


def _regions() -> list[views.Json]:
    return [views.region(context.settings().region, context.base_url())]


def _chosen(every: list[views.Json], *names: str) -> list[views.Json]:
    wanted = {name: request.args[name] for name in names if name in request.args}
    return [one for one in every if all(one[name] == text for name, text in wanted.items())]


def _one(every: list[views.Json], what: str, id_: str) -> Response:
    for one in every:
        if one["id"] == id_:
            return answer({what: one})
    raise NotFound(f"Could not find {what}: {id_[:64]}.")


@ns.route("/v3/services")
class Services(Route):
    shows = {"get": shapes.listed("services", shapes.SERVICE)}
    policy = {"get": "identity:list_services"}

    @ns.doc(params={"name": "exactly this", "type": "exactly this"})
    def get(self) -> Response:
        """List the cloud's services."""
        return answer(
            views.listed("services", _chosen(_services(), "name", "type"), context.base_url())
        )


@ns.route("/v3/services/<service_id>")
class OneService(Route):
    shows = {"get": under("service", shapes.SERVICE)}
    policy = {"get": "identity:get_service"}

    def get(self, service_id: str) -> Response:
        """Show a service."""
        return _one(_services(), "service", service_id)


@ns.route("/v3/endpoints")
class Endpoints(Route):
    shows = {"get": shapes.listed("endpoints", shapes.ENDPOINT)}
    policy = {"get": "identity:list_endpoints"}

    @ns.doc(params=dict.fromkeys(("service_id", "interface", "region_id"), "exactly this"))
    def get(self) -> Response:
        """List where the services are."""
        found = _chosen(_endpoints(), "service_id", "interface", "region_id")
        return answer(views.listed("endpoints", found, context.base_url()))


@ns.route("/v3/endpoints/<endpoint_id>")
class OneEndpoint(Route):
    shows = {"get": under("endpoint", shapes.ENDPOINT)}
    policy = {"get": "identity:get_endpoint"}

    def get(self, endpoint_id: str) -> Response:
        """Show an endpoint."""
        return _one(_endpoints(), "endpoint", endpoint_id)


@ns.route("/v3/regions")
class Regions(Route):
    shows = {"get": shapes.listed("regions", shapes.REGION)}
    policy = {"get": "identity:list_regions"}

    def get(self) -> Response:
        """List the regions: there is one."""
        return answer(views.listed("regions", _regions(), context.base_url()))


@ns.route("/v3/regions/<region_id>")
class OneRegion(Route):
    shows = {"get": under("region", shapes.REGION)}
    policy = {"get": "identity:get_region"}

    def get(self, region_id: str) -> Response:
        """Show the region."""
        return _one(_regions(), "region", region_id)
