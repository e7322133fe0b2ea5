"""`/v1/tasks/{id}/events`: a task's documents as they change, as server-sent events."""

from __future__ import annotations

import time
from collections.abc import Iterator

import orjson
from flask import Response, request, stream_with_context

from app.models import Action, ActionEvent
from app.web import context
from app.web.answers import nothing
from app.web.api import Route
from app.web.policy import allows
from app.web.v1 import views
from app.web.v1.tasks import SEES_HOSTS, load, ns

COMMENT_SECONDS = 15.0
LONGEST = 3600.0


@ns.route("/<task_id>/events")
class TaskEvents(Route):
    policy = {"get": "novella:tasks:show"}
    answers = {"get": (200, 204)}
    asks = {"get": (SEES_HOSTS,)}

    @ns.doc(params={"Last-Event-ID": {"in": "header", "description": "the last event seen"}})
    @ns.produces(["text/event-stream"])
    def get(self, task_id: str) -> Response:
        """Follow a task as server-sent events until it ends."""
        known = request.headers.get("Last-Event-ID", "")
        action, events, now = load(task_id)
        if action.finished_at is not None and known == views.etag_of(action, now):
            return nothing()  # tells a browser's EventSource not to connect again
        stream = stream_with_context(_stream(known, action, events, now))
        made = Response(stream, mimetype="text/event-stream")
        made.headers["Cache-Control"] = "no-store"
        made.headers["X-Accel-Buffering"] = "no"
        return made


def _stream(
    known: str, action: Action, events: list[ActionEvent], now: views.Live
) -> Iterator[str]:
    watcher, end = context.web().watcher, time.monotonic() + LONGEST
    yield "retry: 1000\n\n"
    with watcher.interest(action.id) as granted:
        while True:
            etag = views.etag_of(action, now)
            if etag != known:
                yield _event(etag, action, events, now)
                known = etag
            if action.finished_at is not None or not granted or time.monotonic() >= end:
                return
            if watcher.change(action.id, known, time.monotonic() + COMMENT_SECONDS):
                action, events, now = load(action.id)
            else:
                yield ": still here\n\n"  # and finds out whether the client is


def _event(etag: str, action: Action, events: list[ActionEvent], now: views.Live) -> str:
    document = views.task(action, events, now, hosts=allows(SEES_HOSTS), base=context.base_url())
    return f"id: {etag}\nevent: task\ndata: {orjson.dumps(document).decode()}\n\n"
