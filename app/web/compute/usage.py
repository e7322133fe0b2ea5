"""Usage: hours of servers, and what they took in them, by project."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from flask import Response, request
from sqlalchemy.orm import Session

from app.errors import Invalid
from app.store import usage
from app.store.database import clock, reading
from app.store.paging import Page
from app.store.usage import Period, Total, Used
from app.web import context, query
from app.web.answers import answer
from app.web.api import Route
from app.web.compute import views
from app.web.compute.ranges import known_parameters
from app.web.compute.versions import ns
from app.web.policy import INSIDE, require
from app.web.shapes import operating as shapes
from app.web.times import micros

_FORMS = ("%Y-%m-%dT%H:%M:%S", "%Y-%m-%dT%H:%M:%S.%f", "%Y-%m-%d %H:%M:%S.%f")
PAGED = (2, 40)
_PERIOD = {
    "start": "2026-01-02T03:04:05, 2026-01-02T03:04:05.678901 or 2026-01-02 03:04:05.678901; now",
    "end": "in the same forms; now, and never later",
}
_PAGE = {
    "limit": "from 2.40: at most so many servers, at most 1000",
    "marker": "from 2.40: the id of the last server of the page before",
}
_DETAILED = {"detailed": "1: with each server"}


def _period(session: Session) -> Period:
    """The period asked for, until now at most. Raises Invalid."""
    now = clock(session)
    start, stop = _time("start", now), _time("end", now)
    if stop < start or (start == stop and request.args.get("start")):
        raise Invalid("Invalid start time. The start time cannot occur after the end time.")
    return Period(min(start, now), min(stop, now))


def _time(name: str, otherwise: float) -> float:
    text = request.args.get(name)
    if not text:
        return otherwise
    for form in _FORMS:
        try:
            return datetime.strptime(text[:64], form).replace(tzinfo=UTC).timestamp()
        except (ValueError, OverflowError):
            continue
    raise Invalid(
        f"Invalid input for query parameter {name}: the time is in none of the forms "
        f"{', '.join(_FORMS)}"
    )


def _page() -> Page | None:
    if context.version() < PAGED:
        return None
    return Page(query.limit(), request.args.get("marker"))


def _detailed() -> bool:
    # The SDK says "True".
    return request.args.get("detailed", "0").lower() in ("1", "true")


def _server(used: Used, now: float) -> dict[str, Any]:
    ended = used.ended_at
    return {
        "instance_id": used.server_id,
        "name": used.name,
        "tenant_id": used.project_id,
        "flavor": used.flavor,
        "hours": used.hours,
        "memory_mb": used.memory_mb,
        "local_gb": used.local_gb,
        "vcpus": used.vcpus,
        "started_at": micros(used.started_at),
        "ended_at": micros(ended),
        "state": used.vm_state if ended is None else "terminated",
        "uptime": int((now if ended is None else ended) - used.started_at),
    }


def _total(total: Total, period: Period) -> dict[str, Any]:
    return {
        "tenant_id": total.project_id,
        "total_hours": total.hours,
        "total_memory_mb_usage": total.memory_mb,
        "total_vcpus_usage": total.vcpus,
        "total_local_gb_usage": total.local_gb,
        "start": micros(period.start),
        "stop": micros(period.stop),
    }


def _by_project(found: Iterable[Used], period: Period, now: float) -> list[dict[str, Any]]:
    """Projects with their servers, summed up here: each is in the answer anyway."""
    projects: dict[str, dict[str, Any]] = {}
    for used in found:
        at = projects.setdefault(
            used.project_id,
            {**_total(Total(used.project_id), period), "server_usages": []},
        )
        at["server_usages"].append(_server(used, now))
        at["total_hours"] += used.hours
        at["total_memory_mb_usage"] += used.hours * used.memory_mb
        at["total_vcpus_usage"] += used.hours * used.vcpus
        at["total_local_gb_usage"] += used.hours * used.local_gb
    return [projects[project_id] for project_id in sorted(projects)]


def _link(kind: str, page: Page | None, servers: int, last: str) -> dict[str, Any]:
    full = page is not None and servers > 0 and servers == page.limit
    return {f"{kind}_links": views.next_link(last, page.limit)} if page and full else {}


@ns.route("/v2.1/os-simple-tenant-usage")
class Usages(Route):
    shows = {"get": shapes.USAGES}
    policy = {"get": "os_compute_api:os-simple-tenant-usage:list"}

    @ns.doc(params={**_PERIOD, **_DETAILED, **_PAGE})
    def get(self) -> Response:
        """Show every project's use in a period."""
        known_parameters(*_PERIOD, *_DETAILED, *_PAGE)
        page = _page()
        with reading() as session:
            period = _period(session)
            if _detailed():
                found = list(usage.servers(session, period, page=page))
                listed = _by_project(found, period, clock(session))
                count, last = len(found), found[-1].server_id if found else ""
            else:
                totals = usage.totals(session, period, page)
                listed = [_total(one, period) for one in totals]
                count = sum(one.servers for one in totals)
                last = max((one.last_server for one in totals), default="")
        return answer({"tenant_usages": listed, **_link("tenant_usages", page, count, last)})


@ns.route("/v2.1/os-simple-tenant-usage/<project_id>")
class Usage(Route):
    shows = {"get": shapes.USAGE}
    policy = {"get": INSIDE}
    asks = {"get": ("os_compute_api:os-simple-tenant-usage:show",)}

    @ns.doc(params={**_PERIOD, **_PAGE})
    def get(self, project_id: str) -> Response:
        """Show one project's use in a period, with each server."""
        require("os_compute_api:os-simple-tenant-usage:show", project_id=project_id)
        known_parameters(*_PERIOD, *_PAGE, *_DETAILED)
        page = _page()
        with reading() as session:
            period = _period(session)
            found = list(usage.servers(session, period, project_id, page))
            shown = _by_project(found, period, clock(session))
        last = found[-1].server_id if found else ""
        return answer(
            {
                "tenant_usage": shown[0] if shown else {},
                **_link("tenant_usage", page, len(found), last),
            }
        )
