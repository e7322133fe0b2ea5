"""Following a task to its end: one HTTP request per change, one progress bar per stage."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from app.cli.api import Api
from app.cli.output import console
from app.errors import Unavailable

WAIT_SECONDS = 20
PATIENCE_SECONDS = 30.0
_SPARE_SECONDS = 15.0
ENDED = ("succeeded", "failed", "cancelled")


def changes(api: Api, task_id: str, timeout: float) -> Iterator[dict[str, Any]]:
    """The task's document at each change, the final one last.

    Lives through a restart of the web process. Raises TimeoutError after `timeout` seconds,
    NotFound, Unavailable.
    """
    deadline = time.monotonic() + timeout
    etag: str | None = None
    away_since: float | None = None
    while True:
        left = deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"task {task_id} did not end within {timeout:.0f} s")
        began = time.monotonic()
        try:
            response = _ask(api, task_id, etag, min(WAIT_SECONDS, int(left)))
            away_since = None
        except Unavailable:
            away_since = away_since or began
            if began - away_since > PATIENCE_SECONDS:
                raise
            time.sleep(1)
            continue
        if response.status_code == 200:
            document: dict[str, Any] = response.json()
            document = document.get("task", document)
            new_etag = response.headers.get("ETag")
            if new_etag is None or new_etag != etag:
                yield document
            etag = new_etag
            if document["state"] in ENDED:
                return
        if time.monotonic() - began < 0.1:
            time.sleep(0.2)  # never spin, whatever the other side does with ?wait=


def _ask(api: Api, task_id: str, etag: str | None, wait: int) -> Any:
    headers = {"If-None-Match": etag} if etag else {}
    params = {"wait": wait} if etag else {}
    timeout = wait + _SPARE_SECONDS
    return api.get(f"/v1/tasks/{task_id}", params=params, headers=headers, timeout=timeout)


def watch(api: Api, task_id: str, timeout: float) -> dict[str, Any]:
    """Show a task's stages as they go, and return the final document. Raises as `changes`."""
    shown = _Stages()
    document: dict[str, Any] = {}
    with shown.bars:
        for document in changes(api, task_id, timeout):
            shown.show(document)
    return document


class _Stages:
    """One bar per attempt at a stage; without a terminal one line per change."""

    def __init__(self) -> None:
        self.bars = Progress(
            TextColumn("{task.description:<9}"),
            BarColumn(bar_width=24),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console(),
            disable=not console().is_terminal,
        )
        self._rows: dict[int, TaskID] = {}
        self._said = ""

    def show(self, document: dict[str, Any]) -> None:
        steps = document.get("steps") or []
        for number, step in enumerate(steps):
            self._show_step(number, step, document, last=number == len(steps) - 1)
        if self.bars.disable:
            self._say(document)

    def _show_step(
        self, number: int, step: dict[str, Any], document: dict[str, Any], last: bool
    ) -> None:
        if number not in self._rows:
            self._rows[number] = self.bars.add_task(step["name"], total=100, note="")
        row = self._rows[number]
        host = f"on {step['host']}" if step.get("host") else ""
        if step.get("finished_at"):
            fault = (step.get("fault") or {}).get("message", "")
            result = step.get("result") or "done"
            note = " ".join(filter(None, (result, host, fault)))
            done = 100 if result == "succeeded" else None
            self.bars.update(row, completed=done, note=note)
            self.bars.stop_task(row)
        elif last:
            note = " ".join(filter(None, (host, document.get("message") or "")))
            self.bars.update(row, completed=document.get("progress") or 0, note=note)

    def _say(self, document: dict[str, Any]) -> None:
        host = f" on {document['host']}" if document.get("host") else ""
        line = f"{document['state']}: {document['stage']}{host}"
        if document["state"] == "running":
            line += f" {document.get('progress') or 0}% {document.get('message') or ''}".rstrip()
        if line != self._said:
            console().print(line, markup=False)
            self._said = line
