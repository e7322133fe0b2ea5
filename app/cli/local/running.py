"""Starting and stopping what supervisord runs."""

from __future__ import annotations

import os
from collections.abc import Sequence

from app.cli.local import files
from app.cli.local.place import Place
from app.cli.local.programs import ORDER, Program, environment, render
from app.cli.local.supervisor import Supervisor
from app.cli.local.waiting import until
from app.cli.output import console

STOP_SECONDS = 60.0
RUNNING_SECONDS = 60.0


def start_all(
    place: Place,
    programs: Sequence[Program],
    supervisor: Supervisor,
    only: Sequence[str] = ORDER,
) -> None:
    """Start supervisord with these programs, and those of them in `only`. Raises Unavailable."""
    files.write_private(place.supervisor_config, render(place, programs))
    supervisor.launch(environment(place, os.environ))
    names = [program.name for program in programs if program.name in only]
    for name in names:
        supervisor.start(name)
    console().print(f"started {', '.join(names)}")


def start_missing(supervisor: Supervisor) -> bool:
    """Start what somebody stopped; supervisord itself sees to what died. True if there was any."""
    stopped = [process.name for process in supervisor.processes() if not process.wanted]
    for name in stopped:
        supervisor.start(name)
    if stopped:
        console().print(f"started {', '.join(stopped)}")
    return bool(stopped)


def await_all(supervisor: Supervisor) -> None:
    """Wait until every process has run for a while. Raises Unavailable."""

    def missing() -> str | None:
        ill = [f"{p.name} is {p.state}" for p in supervisor.processes() if p.state != "RUNNING"]
        return ", ".join(ill) or None

    until("every process", missing, RUNNING_SECONDS, supervisor)


def stop(supervisor: Supervisor, names: Sequence[str]) -> None:
    """Stop those of the programs `names` that there are, the last one first, and wait."""
    there = {process.name: process for process in supervisor.processes()}
    wanted = [name for name in names if name in there]
    for name in reversed(wanted):
        supervisor.stop(name)

    def missing() -> str | None:
        left = [p.name for p in supervisor.processes() if p.name in wanted and p.pid]
        return f"{', '.join(left)} to end" if left else None

    if wanted:
        until(f"the end of {', '.join(wanted)}", missing, STOP_SECONDS)
