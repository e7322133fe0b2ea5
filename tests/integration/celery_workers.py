"""Workers of the stock app and of ours at the same Redis, one queue each."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from app.publisher import publisher
from tests.asking import adopt, forget_process_state
from tests.cloud import Cloud, eventually

PACKAGE = "tests.integration.celery_facts"


@dataclass
class Workers:
    """Who works, by the app's module, which is also the queue's name."""

    cloud: Cloud

    def start(self, app: str, ready: bool = True, deaf_seconds: str = "60", **conf: Any) -> None:
        """Start a worker; wait until it consumes unless told not to."""
        argv = [sys.executable, "-m", "celery", "-A", f"{PACKAGE}.{app}", "worker"]
        argv += ["-Q", app, "-l", "INFO", "-n", f"{app}@%h"]
        settings = {"facts": json.dumps(conf), "deaf_seconds": deaf_seconds}
        self.cloud.spawn(app, argv, **settings)
        if ready:
            eventually(lambda: "ready." in self.cloud.log(app), 30, f"{app} is ready")

    def ask(self, app: str, word: str, seconds: float = 0.0, task: str = "chore") -> None:
        """Send a task that writes `word` when it begins and, `seconds` later, when it is done."""
        marks = str(self._marks(app))
        publisher().send_task(f"facts.{task}", (marks, word, seconds), queue=app)

    def marks(self, app: str) -> list[str]:
        """What the tasks of `app` have written."""
        place = self._marks(app)
        return place.read_text().splitlines() if place.exists() else []

    def did(self, app: str, line: str, seconds: float = 20.0) -> None:
        """Wait for a line of a task."""
        eventually(lambda: line in self.marks(app), seconds, f"{app}: {line}")

    def alive(self, app: str) -> bool:
        """Whether the worker's process is there."""
        return self.cloud.processes[app].poll() is None

    def ended(self, app: str, seconds: float = 20.0) -> int:
        """Wait until the worker's process ends by itself; its exit status."""
        process = self.cloud.processes[app]
        eventually(lambda: process.poll() is not None, seconds, f"{app} ends")
        return int(process.returncode)

    def _marks(self, app: str) -> Path:
        return self.cloud.directory / f"{app}.marks"


@contextmanager
def at_work(directory: Path, **settings: str) -> Iterator[Workers]:
    """A Redis, and nobody at work yet; the broker is it unless the settings name another."""
    made = Cloud(directory, settings=settings)
    try:
        with pytest.MonkeyPatch.context() as patch:
            adopt(made, patch)
            made.start_redis()
            yield Workers(made)
    finally:
        made.stop()
        forget_process_state()


@pytest.fixture
def workers(tmp_path: Path) -> Iterator[Workers]:
    """Workers of this test's own Redis."""
    with at_work(tmp_path) as made:
        yield made
