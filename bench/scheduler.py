"""Decisions a second: for one server and for a hundred, over more and more hosts.

The baseline of the same run judges and weighs one host after the other, in plain Python, with
three filters and three weighers. With `--nova PYTHON` (one that has nova installed), Nova's own
FilterScheduler decides over the same hosts, and the ratios are to that.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from app.domain.request_spec import RequestSpec
from app.domain.resources import Resources
from app.scheduler.host_table import HostTable
from app.scheduler.rows import HostRow
from app.scheduler.select import select
from bench.claims import measure

SIZES = (100, 1_000, 10_000, 100_000)
COUNTS = (1, 100)
WANTED = Resources(2, 4096, 20)
SPEC = RequestSpec(WANTED)
FACTS = json.dumps({"supported_instances": [["x86_64", "qemu", "hvm"]]})
NOVA_AT_MOST = 10_000
Times = dict[int, list[float]]


@click.command()
@click.option("--hosts", type=int, help="Only this size.")
@click.option("--nova", type=click.Path(exists=True, dir_okay=False), help="A Python with nova.")
@click.option("--claims/--no-claims", default=True, help="Measure claims and messages too.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write rows there.")
def main(hosts: int | None, nova: str | None, claims: bool, json_file: Path | None) -> None:
    """Measure the choice alone; then claims in a database, and both through Celery and Redis."""
    rows: list[dict[str, Any]] = []
    for size in [hosts] if hosts else SIZES:
        cloud = _cloud(size)
        ours = {count: _times(_choice(cloud, count), count) for count in COUNTS}
        if nova and size <= NOVA_AT_MOST:
            rows += _told("Nova", size, _nova(nova, cloud), ours)
        else:
            plain = {1: _times(partial(_one_by_one, cloud), 1)}
            rows += _told("one by one", size, plain, ours)
        if claims:
            rows += _shown(measure(size))
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1) + "\n")


def _cloud(size: int) -> list[HostRow]:
    chance = random.Random(size)
    return [
        HostRow(
            f"host-{number:06}",
            Resources(64, 262_144, 4_000),
            Resources(chance.randrange(64), chance.randrange(131_072), chance.randrange(1_000)),
            cpu_ratio=4.0,
            servers=chance.randrange(20),
            hypervisor_type="QEMU",
            hypervisor_version=7_002_000,
            facts=FACTS,
        )
        for number in range(size)
    ]


def _choice(cloud: list[HostRow], count: int) -> Callable[[], None]:
    table = HostTable(cloud)

    def choose() -> None:
        assert len(select(table.copy(), SPEC, count, 3).picks) == count

    return choose


def _times(act: Callable[[], object], count: int, seconds: float = 2.0) -> list[float]:
    """Seconds a decision, of runs for so long; at least three runs after the first."""
    act()
    found: list[float] = []
    until = time.monotonic() + seconds
    while len(found) < 3 or time.monotonic() < until:
        begun = time.perf_counter()
        act()
        found.append((time.perf_counter() - begun) / count)
    return found


def _one_by_one(cloud: list[HostRow]) -> str:
    fitting = []
    for row in cloud:
        vcpus, ram_mb, disk_gb = row.limit
        if (
            row.usable
            and vcpus - row.used.vcpus >= WANTED.vcpus
            and ram_mb - row.used.ram_mb >= WANTED.ram_mb
            and disk_gb - row.used.disk_gb >= WANTED.disk_gb
        ):
            free = (ram_mb - row.used.ram_mb, vcpus - row.used.vcpus, disk_gb - row.used.disk_gb)
            fitting.append((row, free))
    tops = [max(free[at] for _, free in fitting) for at in range(3)]
    best = max(fitting, key=lambda one: sum(x / top for x, top in zip(one[1], tops, strict=True)))
    return best[0].name


def _nova(python: str, cloud: list[HostRow]) -> Times:
    rows = [
        {
            "name": row.name,
            "vcpus": row.total.vcpus,
            "ram_mb": row.total.ram_mb,
            "disk_gb": row.total.disk_gb,
            "used_vcpus": row.used.vcpus,
            "used_ram_mb": row.used.ram_mb,
            "used_disk_gb": row.used.disk_gb,
            "cpu_ratio": row.cpu_ratio,
            "servers": row.servers,
            "hypervisor_version": row.hypervisor_version,
        }
        for row in cloud
    ]
    counts = COUNTS if len(cloud) <= 1_000 else COUNTS[:1]  # a hundred take Nova minutes there
    asked = {"hosts": rows, "wanted": WANTED.__dict__, "counts": counts, "seconds": 5}
    script = Path(__file__).with_name("nova_side.py")
    done = subprocess.run(
        [python, str(script)],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=900,
        check=True,
    )
    told = json.loads(done.stdout)
    picked = select(HostTable(cloud), SPEC, 1, 0).picks[0]
    if told["picks"] != picked:
        click.echo(f"Nova picks {told['picks']}, we pick {picked}")
    return {count: told[str(count)] for count in counts}


def _told(baseline: str, size: int, theirs: Times, ours: Times) -> list[dict[str, Any]]:
    rows = []
    for name, times in ((baseline, theirs), ("Novella", ours)):
        for count, seconds in times.items():
            other = theirs.get(count) or theirs[1]
            rows.append(_row(f"{name}, {count} in one request", size, seconds, other))
    return _shown(rows)


def _shown(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    for row in rows:
        click.echo(
            f"{row['hosts']:>7} hosts  {row['name']:<52} {row['median']:>12,.1f} {row['unit']}"
            f"  (min {row['min']:,.1f}, max {row['max']:,.1f})  ratio {row['ratio']:,.1f}"
        )
    return rows


def _row(name: str, size: int, seconds: list[float], baseline: list[float]) -> dict[str, Any]:
    median = statistics.median(seconds)
    return {
        "name": name,
        "hosts": size,
        "unit": "decisions/s",
        "median": round(1 / median, 2),
        "min": round(1 / max(seconds), 2),
        "max": round(1 / min(seconds), 2),
        "ratio": round(statistics.median(baseline) / median, 1),
    }


if __name__ == "__main__":
    main()
