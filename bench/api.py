"""How long lists take in one process: a thousand servers with all their details, and smaller ones.

The baseline of the same run marshals as many items of as many fields with Flask-RESTX and writes
them with the standard library's json: what a plain Flask-RESTX resource takes without any query.
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import flask_restx
import pytest
from flask_restx import fields

from app.store import database, migrations, seed
from app.web import heap
from app.web.factory import create_app
from tests.asking import forget_process_state
from tests.filled import fill_servers, statements
from tests.integration.web_fixtures import Site, adopt_settings
from tests.templates import PASSWORDS

V = "/compute/v2.1"
FIELDS = 35
ROUTES = (
    ("servers in detail, 2.1", f"{V}/servers/detail?limit=1000", "2.1"),
    ("servers in detail, newest", f"{V}/servers/detail?limit=1000", "latest"),
    ("a page of 100, newest", f"{V}/servers/detail?limit=100", "latest"),
    ("servers by name", f"{V}/servers?limit=1000", "latest"),
    ("ports", "/network/v2.0/ports", "2.1"),
)


@click.command()
@click.option("--servers", default=1000, help="How many there are.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write rows there.")
def main(servers: int, json_file: Path | None) -> None:
    """Measure lists."""
    with tempfile.TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        rows = _measured(Path(folder), patch, servers)
        database.engine().dispose()
    forget_process_state()
    for row in rows:
        click.echo(
            f"{row['name']:<34} {row['median']:>9,.1f} ms  (min {row['min']:,.1f}, "
            f"max {row['max']:,.1f})  {row['statements']:>3} statements  ratio {row['ratio']:,.1f}"
        )
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1) + "\n")


def _measured(folder: Path, patch: pytest.MonkeyPatch, servers: int) -> list[dict[str, Any]]:
    site = _site(folder, patch)
    fill_servers(site, servers)
    token = site.token()
    client = site.client
    heap.settle()
    marshalled = _times(_marshalling(servers))
    rows = [_row("Flask-RESTX marshals and dumps", servers, marshalled, marshalled, 0)]
    for name, path, version in ROUTES:
        headers = {"X-Auth-Token": token, "OpenStack-API-Version": f"compute {version}"}

        def get(path: str = path, headers: dict[str, str] = headers) -> None:
            answer = client.get(path, headers=headers)
            assert answer.status_code == 200, answer.text

        rows.append(_row(name, servers, _times(get), marshalled, len(statements(get))))
    return rows


def _site(folder: Path, patch: pytest.MonkeyPatch) -> Site:
    made = adopt_settings(patch, folder)
    migrations.upgrade(made.database)
    with database.transaction() as session:
        seed.first_start(session, network_cidr="10.77.0.0/16", passwords=PASSWORDS)
    return Site(create_app(made), folder)


def _marshalling(count: int) -> Callable[[], object]:
    names = [f"field_{number}" for number in range(FIELDS)]
    model = dict.fromkeys(names, fields.String)
    items = [dict.fromkeys(names, f"value {number}") for number in range(count)]
    return lambda: json.dumps(flask_restx.marshal(items, model))


def _times(act: Callable[[], object], seconds: float = 3.0) -> list[float]:
    act()
    found: list[float] = []
    until = time.monotonic() + seconds
    while len(found) < 3 or time.monotonic() < until:
        begun = time.perf_counter()
        act()
        found.append((time.perf_counter() - begun) * 1000)
    return found


def _row(
    name: str, servers: int, times: list[float], baseline: list[float], statements: int
) -> dict[str, Any]:
    median = statistics.median(times)
    return {
        "name": name,
        "hosts": 1,
        "servers": servers,
        "unit": "ms",
        "median": round(median, 2),
        "min": round(min(times), 2),
        "max": round(max(times), 2),
        "ratio": round(statistics.median(baseline) / median, 2),
        "statements": statements,
    }


if __name__ == "__main__":
    main()
