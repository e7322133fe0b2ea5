"""`/v1/aggregates/{id}/images`: how far the hosts of an aggregate are with images to be cached."""

from __future__ import annotations

from typing import Any

from flask import Response
from flask_restx import Namespace

from app.models import Host, Precache
from app.models.precache import WAITING
from app.store import aggregates, precaches
from app.store.database import reading
from app.tasks import messages, publish
from app.web.answers import answer
from app.web.api import Route
from app.web.compute.aggregates import whole_id
from app.web.shapes import v1 as shapes
from app.web.times import micros_z

ns = Namespace("aggregates", "Aggregates' images, ahead of builds", path="/v1/aggregates")


def _shown(row: Precache, host: Host) -> dict[str, Any]:
    return {
        "image_id": row.image_id,
        "host": row.host,
        "state": row.state,
        "progress": row.progress,
        "message": _message(row, host),
        "fault": row.fault,
        "request_id": row.request_id,
        "requested_at": micros_z(row.requested_at),
        "finished_at": None if row.finished_at is None else micros_z(row.finished_at),
    }


def _message(row: Precache, host: Host) -> str:
    """What a row that is not over waits for."""
    if row.state != WAITING:
        return ""
    if not publish.reachable(host):
        return f"waiting: host {host.name} is {host.state}"
    if not messages.precaches(host):
        return f"waiting: {messages.too_old(host)}"
    return row.message


@ns.route("/<aggregate_id>/images")
class AggregateImages(Route):
    shows = {"get": shapes.PRECACHES}
    policy = {"get": "novella:aggregates:images"}

    def get(self, aggregate_id: str) -> Response:
        """Every image that the aggregate's hosts were last asked to cache, host by host.

        `state` is waiting, cached, failed or skipped; `progress` is percent.
        """
        wanted = whole_id(aggregate_id)
        with reading() as session:
            found = aggregates.get(session, wanted)
            names = aggregates.hosts_of(session, [found])[found.id]
            rows = precaches.listed(session, names)
        return answer({"images": [_shown(row, host) for row, host in rows]})
