"""Host aggregates: sets of hosts for administrators, who give them zones, ratios and metadata."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from flask import Response
from sqlalchemy.orm import Session

from app.errors import Invalid, NotFound
from app.models import Aggregate
from app.store import aggregates, images, precaches
from app.store.database import reading, transaction
from app.web import context
from app.web.accepting import once
from app.web.answers import answer, nothing
from app.web.api import Route, documented
from app.web.body import body, parsed
from app.web.compute import group_schemas as schemas
from app.web.compute.versions import ns
from app.web.microversions import since
from app.web.policy import INSIDE, require
from app.web.shapes import compute as shapes
from app.web.shapes.parts import NOTHING
from app.web.times import micros

WITH_UUID = (2, 41)
_RULE = "os_compute_api:os-aggregates:"
_PRECACHED = (2, 81)
_NAMES = ("add_host", "remove_host", "set_metadata")


def _short(found: Aggregate) -> dict[str, Any]:
    """An aggregate as its creation is answered, without hosts and metadata."""
    shown: dict[str, Any] = {
        "id": found.id,
        "name": found.name,
        "availability_zone": found.zone,
        "created_at": micros(found.created_at),
        "updated_at": micros(found.updated_at),
        "deleted": False,
        "deleted_at": None,
    }
    return shown | ({"uuid": found.uuid} if context.version() >= WITH_UUID else {})


def _whole(found: Aggregate, hosts: list[str]) -> dict[str, Any]:
    return {**_short(found), "hosts": hosts, "metadata": found.meta}


def _shown(session: Session, found: Aggregate) -> Response:
    hosts = aggregates.hosts_of(session, [found])[found.id]
    return answer({"aggregate": _whole(found, hosts)})


def whole_id(text: str) -> int:
    """The id in the path. Raises Invalid for what is no whole number."""
    digits = text.removeprefix("-")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 20):
        raise Invalid("Invalid input for field id: the id of an aggregate is a whole number")
    return int(text)


@ns.route("/v2.1/os-aggregates")
class Aggregates(Route):
    shows = {"get": shapes.AGGREGATES, "post": shapes.AGGREGATE_MADE}
    policy = {"get": f"{_RULE}index", "post": f"{_RULE}create"}

    def get(self) -> Response:
        """List host aggregates."""
        with reading() as session:
            found = aggregates.listed(session)
            hosts = aggregates.hosts_of(session, found)
        return answer({"aggregates": [_whole(one, hosts[one.id]) for one in found]})

    @documented(ns, schemas.NEW_AGGREGATE)
    def post(self) -> Response:
        """Make an aggregate; with `availability_zone`, its hosts are in that zone."""
        wanted = body(schemas.NEW_AGGREGATE)["aggregate"]

        def work(session: Session) -> Response:
            zone = wanted.get("availability_zone")
            return answer({"aggregate": _short(aggregates.add(session, wanted["name"], zone))})

        return once(work)


@ns.route("/v2.1/os-aggregates/<aggregate_id>")
class OneAggregate(Route):
    shows = {"get": shapes.ONE_AGGREGATE, "put": shapes.ONE_AGGREGATE, "delete": NOTHING}
    policy = {"get": f"{_RULE}show", "put": f"{_RULE}update", "delete": f"{_RULE}delete"}
    answers = {"delete": (200,)}

    def get(self, aggregate_id: str) -> Response:
        """Show an aggregate."""
        number = whole_id(aggregate_id)
        with reading() as session:
            return _shown(session, aggregates.get(session, number))

    @documented(ns, schemas.AGGREGATE_CHANGE)
    def put(self, aggregate_id: str) -> Response:
        """Rename an aggregate, or its zone if its hosts have no servers."""
        number = whole_id(aggregate_id)
        wanted = body(schemas.AGGREGATE_CHANGE)["aggregate"]
        zone = {name: wanted[name] for name in (aggregates.ZONE,) if name in wanted}
        with transaction() as session:
            return _shown(session, aggregates.change(session, number, wanted.get("name"), zone))

    def delete(self, aggregate_id: str) -> Response:
        """Forget an aggregate without hosts."""
        number = whole_id(aggregate_id)
        with transaction() as session:
            aggregates.remove(session, number)
        return nothing(200)


@ns.route("/v2.1/os-aggregates/<aggregate_id>/action")
class AggregateAction(Route):
    shows = {"post": shapes.ONE_AGGREGATE}
    policy = {"post": INSIDE}
    asks = {"post": tuple(_RULE + name for name in (*_NAMES, "update"))}

    @documented(ns, schemas.AGGREGATE_ACTION)
    def post(self, aggregate_id: str) -> Response:
        """Add a host, remove one, or set metadata (null forgets a key): one per request."""
        given = parsed()
        name = next(iter(given)) if isinstance(given, dict) and len(given) == 1 else None
        if name in _ACTIONS:
            require(_RULE + name)
        else:
            require(f"{_RULE}update")  # nobody else learns what a good body is
        number = whole_id(aggregate_id)
        wanted = schemas.AGGREGATE_ACTION.check(given)
        perform = _ACTIONS[str(name)]

        def work(session: Session) -> Response:
            return _shown(session, perform(session, number, wanted[name]))

        return once(work)


@ns.route("/v2.1/os-aggregates/<aggregate_id>/images")
class AggregateImages(Route):
    shows = {"post": NOTHING}
    versions = since(_PRECACHED, "post")
    policy = {"post": "compute:aggregates:images"}
    answers = {"post": (202,)}

    @documented(ns, schemas.AGGREGATE_IMAGES)
    def post(self, aggregate_id: str) -> Response:
        """Have the aggregate's hosts fetch images into their caches ahead of builds.

        `GET /v1/aggregates/{id}/images` tells how far they are.
        """
        wanted = whole_id(aggregate_id)
        image_ids = [one["id"] for one in body(schemas.AGGREGATE_IMAGES)["cache"]]
        with reading() as session:
            found = aggregates.get(session, wanted)
            _check_images(session, image_ids)
            names = aggregates.hosts_of(session, [found])[found.id]
        seconds = context.settings().accept_deadline
        # A step for some hosts at a time; if this dies in between, a repeat does the rest.
        for some in precaches.groups(names, len(image_ids)):
            with transaction() as session:
                precaches.ask(session, some, image_ids, context.request_id(), seconds)
        return once(lambda session: nothing(202))


def _check_images(session: Session, image_ids: list[str]) -> None:
    """Raises Invalid for an image that is not there, or that hosts could not fetch now."""
    for place, image_id in enumerate(image_ids):
        field = f"Invalid input for field cache.{place}.id: "
        try:
            image = images.get(session, context.caller(), image_id)
        except NotFound as error:
            raise Invalid(f"{field}there is no image {image_id}") from error
        if image.status != images.ACTIVE:
            raise Invalid(f"{field}image {image_id} is {image.status}, not {images.ACTIVE}")


def _add_host(session: Session, number: int, wanted: dict[str, Any]) -> Aggregate:
    return aggregates.add_host(session, number, wanted["host"])


def _remove_host(session: Session, number: int, wanted: dict[str, Any]) -> Aggregate:
    return aggregates.remove_host(session, number, wanted["host"])


def _set_metadata(session: Session, number: int, wanted: dict[str, Any]) -> Aggregate:
    return aggregates.change(session, number, None, wanted["metadata"])


_ACTIONS: dict[str, Callable[[Session, int, dict[str, Any]], Aggregate]] = {
    "add_host": _add_host,
    "remove_host": _remove_host,
    "set_metadata": _set_metadata,
}
