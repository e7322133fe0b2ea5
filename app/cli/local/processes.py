"""A supervisor's processes as people read them; without the database, which hosts have not."""

from __future__ import annotations

from collections.abc import Sequence

from app.cli.local.place import Place
from app.cli.local.supervisor import Process
from app.cli.output import print_table


def show_processes(place: Place, processes: Sequence[Process]) -> bool:
    """Print each process; True when all of them run."""
    rows = [
        {
            "process": one.name,
            "state": one.state,
            "pid": one.pid or None,
            "uptime": _span(one.uptime) if one.pid else None,
            "log": one.log.relative_to(place.state) if place.state in one.log.parents else None,
        }
        for one in processes
    ]
    print_table(("process", "state", "pid", "uptime", "log"), rows)
    return all(one.state == "RUNNING" for one in processes)


def _span(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"
