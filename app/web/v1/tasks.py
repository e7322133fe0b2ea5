"""`/v1/tasks`: poll, wait, list and cancel what was accepted."""

from __future__ import annotations

import time

from flask import Response, request
from flask_restx import Namespace

from app.domain.states import CANCELLED, FAILED, QUEUED, RUNNING, SUCCEEDED
from app.errors import Invalid
from app.models import Action, ActionEvent
from app.store import servers, task_listing
from app.store.database import reading, transaction
from app.store.paging import Page
from app.tasks import publish
from app.tasks.progress import live
from app.web import context, query, times
from app.web.answers import answer
from app.web.api import Route
from app.web.policy import allows
from app.web.shapes import v1 as shapes
from app.web.v1 import views

ns = Namespace("tasks", "What became of accepted requests", path="/v1/tasks")
LONGEST_WAIT = 60
SEES_HOSTS, _EVERYBODYS = "novella:tasks:show:hosts", "novella:tasks:list:all_projects"
STATES = (QUEUED, RUNNING, SUCCEEDED, FAILED, CANCELLED)


def load(task_id: str) -> tuple[Action, list[ActionEvent], views.Live]:
    """A task that the caller may see, its steps, and its live progress."""
    with reading() as session:
        action = task_listing.get(session, context.caller(), task_id)
        events = task_listing.steps(session, [task_id]).get(task_id, [])
    return action, events, live([task_id]) if action.state == RUNNING else {}


@ns.route("")
class Tasks(Route):
    shows = {"get": shapes.TASKS}
    policy = {"get": "novella:tasks:list"}
    asks = {"get": (_EVERYBODYS, SEES_HOSTS)}

    @ns.doc(
        params={
            "server_id": "only this server's",
            "request_id": "only what this request asked for (its x-openstack-request-id)",
            "state": "queued, running, succeeded, failed or cancelled",
            "kind": "create, delete, start, stop, reboot, hard_reboot …",
            "host": "for administrators: the host it is on",
            "since": "ISO 8601: accepted then or later",
            "all_projects": "for administrators: true shows everybody's",
            "limit": "at most 1000",
            "marker": "the last id of the page before",
        }
    )
    def get(self) -> Response:
        """List tasks, newest first."""
        wanted = _wanted()
        with reading() as session:
            found = task_listing.page(session, context.caller(), wanted)
            steps = task_listing.steps(session, [action.id for action in found])
        now = live([action.id for action in found if action.state == RUNNING])
        base = context.base_url()
        hosts = allows(SEES_HOSTS)
        shown = [
            views.task(one, steps.get(one.id, []), now, hosts=hosts, base=base) for one in found
        ]
        full = bool(found) and len(found) == wanted.page.limit
        links = {"next": query.next_page(found[-1].id, wanted.page.limit)} if full else {}
        return answer({"tasks": shown, "links": links})


def _wanted() -> task_listing.TaskQuery:
    args = request.args
    if args.get("state") is not None and args["state"] not in STATES:
        raise Invalid(f"Invalid input for query parameter state: not one of {', '.join(STATES)}")
    since = args.get("since")
    return task_listing.TaskQuery(
        all_projects=bool(query.flag("all_projects")) and allows(_EVERYBODYS),
        server_id=args.get("server_id"),
        request_id=args.get("request_id"),
        state=args.get("state"),
        kind=args.get("kind"),
        host=args.get("host") if allows(SEES_HOSTS) else None,
        since=times.parse(since, "since") if since else None,
        page=Page(max(1, query.limit()), args.get("marker"), descending=True),
    )


@ns.route("/<task_id>")
class Task(Route):
    shows = {"get": shapes.TASK, "delete": shapes.TASK}
    policy = {"get": "novella:tasks:show", "delete": "novella:tasks:cancel"}
    answers = {"get": (200, 304), "delete": (202,)}
    asks = {"get": (SEES_HOSTS,), "delete": (SEES_HOSTS,)}

    @ns.doc(params={"wait": "seconds (0 to 60) to wait for a change from the given ETag"})
    def get(self, task_id: str) -> Response:
        """Show a task; with ?wait=S, at its next change or end."""
        wait = query.number("wait", 0, high=LONGEST_WAIT)
        action, events, now = load(task_id)
        given = request.if_none_match
        current = not given or given.contains_weak(views.etag_of(action, now))
        if wait and current and action.finished_at is None:
            action, events, now = _changed(action, now, time.monotonic() + wait)
        return _respond(action, events, now)

    def delete(self, task_id: str) -> Response:
        """Cancel a create that has not been committed to a host; others answer 409."""
        with transaction() as session:
            action = servers.cancel(session, context.caller(), task_id)
        publish.ring([action])
        return _respond(*load(task_id), status=202)


def _changed(
    action: Action, now: views.Live, until: float
) -> tuple[Action, list[ActionEvent], views.Live]:
    """The task once it differs from what is given, or as it is at `until`."""
    watcher = context.web().watcher
    with watcher.interest(action.id) as granted:
        if granted:
            watcher.change(action.id, views.etag_of(action, now), until)
    return load(action.id)


def _respond(
    action: Action, events: list[ActionEvent], now: views.Live, status: int = 200
) -> Response:
    etag = views.etag_of(action, now)
    if request.method == "GET" and request.if_none_match.contains_weak(etag):
        made = Response(status=304)
    else:
        base = context.base_url()
        made = answer(views.task(action, events, now, hosts=allows(SEES_HOSTS), base=base), status)
    made.set_etag(etag)
    made.headers["Cache-Control"] = "private, no-cache"
    made.vary.add("X-Auth-Token")
    return made
