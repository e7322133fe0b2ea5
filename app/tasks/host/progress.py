"""Live progress into the result backend, under the action's id: guarded, and on its own thread."""

from __future__ import annotations

import threading

from celery import current_app
from celery.exceptions import BackendError

from app import logs
from app.tasks.board import AWAY
from app.tasks.host.running import RunningTasks

log = logs.get(__name__)
SECONDS = 0.3
PROGRESS = "PROGRESS"


class ProgressPoster:
    """Posts what changed since the last look; Redis being away costs nobody anything."""

    def __init__(self, tasks: RunningTasks, end: threading.Event) -> None:
        self._tasks = tasks
        self._end = end
        self._posted: dict[str, tuple[int, str]] = {}

    def loop(self) -> None:
        """Post until the agent ends."""
        while not self._end.wait(SECONDS):
            try:
                self.post()
            except (*AWAY, BackendError, RuntimeError) as error:
                log.debug("progress not posted", error=str(error))

    def post(self) -> None:
        """Post the progress of tasks that report any."""
        now = {
            seen.key.action_id: (seen.percent, seen.message, seen.key.stage)
            for seen in self._tasks.sightings()
            if seen.started and seen.message
        }
        for action_id, (percent, message, stage) in now.items():
            if self._posted.get(action_id) != (percent, message):
                current_app.backend.store_result(
                    action_id, {"percent": percent, "message": message, "stage": stage}, PROGRESS
                )
        self._posted = {key: (percent, message) for key, (percent, message, _) in now.items()}
