"""The tasks of both apps, and the ways in which the tests harm a worker's main loop."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

from celery import Celery
from celery.worker.control import control_command


def equip(app: Celery) -> Celery:
    """Give `app` the tasks, and the settings that the test names in the environment."""
    app.task(_chore, name="facts.chore")
    app.task(_chore, name="facts.late", acks_late=True)
    app.task(_report, name="facts.report", bind=True)
    wanted: dict[str, Any] = json.loads(os.environ.get("NOVELLA_FACTS", "{}"))
    options = wanted.pop("broker_transport_options", {})
    app.conf.update(wanted)
    app.conf.broker_transport_options = (app.conf.broker_transport_options or {}) | options
    return app


def _chore(marks: str, word: str, seconds: float = 0.0) -> None:
    """Write that it begins and, `seconds` later, that it is done."""
    _write(marks, f"{word} begun")
    time.sleep(seconds)
    _write(marks, f"{word} done")


def _report(self: Any, marks: str, until: str, seconds: float = 0.0) -> None:
    """Report progress once the file `until` is there, as Celery's own guide shows it."""
    _write(marks, "report begun")
    while not Path(until).exists():
        time.sleep(0.05)
    time.sleep(seconds)
    self.update_state(state="PROGRESS", meta={"percent": 50})
    _write(marks, "report done")


def _write(marks: str, line: str) -> None:
    with Path(marks).open("a") as file:
        file.write(line + "\n")


@control_command()
def hang(state: Any) -> None:
    """The main loop hangs: remote control runs in it."""
    time.sleep(3600)


@control_command()
def look_away(state: Any) -> None:
    """The main loop turns, but nobody watches the queues: what a lost reconnect leaves behind."""
    state.consumer.hub.on_tick.clear()
