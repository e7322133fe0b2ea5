"""Servers through the whole pipeline: HTTP, Redis, scheduler workers, fake hosts.

The baseline of the same run is the choice alone, of as many servers over as many hosts in this
process: what schedule and claim cost beyond it is the database's, Celery's and the messages'.
"""

from __future__ import annotations

import json
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import pytest

from app.domain.request_spec import RequestSpec
from app.domain.resources import Resources
from app.scheduler.host_table import HostTable
from app.scheduler.rows import HostRow
from app.scheduler.select import select
from app.virt.fake import VCPUS
from tests.asking import adopt
from tests.cloud import Cloud, running
from tests.postgres import postgresql
from tests.rush import Rush, watched


@click.command()
@click.option("--hosts", default=1000, help="How many fake hosts.")
@click.option("--requests", default=10, help="How many requests at once.")
@click.option("--servers", default=100, help="How many servers in each.")
@click.option("--schedulers", default=1, help="How many scheduler workers.")
@click.option("--db", type=click.Choice(["sqlite", "postgresql"]), default="sqlite")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write rows there.")
def main(
    hosts: int, requests: int, servers: int, schedulers: int, db: str, json_file: Path | None
) -> None:
    """Measure a burst of creates."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        url = stack.enter_context(postgresql()) if db == "postgresql" else ""
        cloud = stack.enter_context(running(Cloud(Path(folder), database_url=url)))
        adopt(cloud, patch)
        rush = Rush(cloud, hosts, VCPUS, schedulers)
        rush.start()
        rows = _measured(rush, requests, servers)
    for row in rows:
        click.echo(f"{row['name']:<44} {row['median']:>10} {row['unit']:<10} ratio {row['ratio']}")
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1) + "\n")


def _measured(rush: Rush, requests: int, servers: int) -> list[dict[str, Any]]:
    total = requests * servers
    alone = _choice_alone(rush.hosts, requests, servers) / total
    with watched(rush.cloud) as wrong:
        before, begun = rush.scheduler_seconds(), time.monotonic()
        rush.ask(requests, servers)
        rush.claimed(300)
        spent = _when_idle(rush) - before
        states = rush.ended(600)
        took = time.monotonic() - begun
    if wrong or states["active"] != total:
        raise click.ClickException(f"{dict(states)}; {wrong[:5]}")
    each = spent / total
    return [
        _row("choice alone, CPU a server", rush.hosts, alone * 1000, "ms", 1.0),
        _row("schedule + claim, CPU a server", rush.hosts, each * 1000, "ms", each / alone),
        _row("accepted to active, all", rush.hosts, total / took, "servers/s", 1.0),
    ]


def _when_idle(rush: Rush, idle: float = 0.25, seconds: float = 60.0) -> float:
    """The schedulers' CPU time when all messages are sent: when one second costs them next to none.

    What is left is their sweep's, and its time goes on as long as hosts build.
    """
    deadline, spent = time.monotonic() + seconds, rush.scheduler_seconds()
    while time.monotonic() < deadline:
        time.sleep(1.0)
        before, spent = spent, rush.scheduler_seconds()
        if spent - before < idle:
            break
    return spent


def _choice_alone(hosts: int, requests: int, servers: int) -> float:
    total = Resources(VCPUS, 262_144, 2048)
    table = HostTable([HostRow(f"h{number:05}", total) for number in range(hosts)])
    spec = RequestSpec(Resources(1, 192, 1))
    begun = time.process_time()
    for _ in range(requests):
        assert len(select(table, spec, servers, 3).picks) == servers
    return time.process_time() - begun


def _row(name: str, hosts: int, value: float, unit: str, ratio: float) -> dict[str, Any]:
    shown = round(value, 3)
    return {
        "name": name,
        "hosts": hosts,
        "unit": unit,
        "median": shown,
        "min": shown,
        "max": shown,
        "ratio": round(ratio, 1),
    }


if __name__ == "__main__":
    main()
