"""What the control plane adds to one boot: accept to active on a fake host, when idle.

The baseline, measured in the same run on the same Redis and workers, is the time of three
plain Celery hops (each a console read that finds nothing, which does no work).
"""

from __future__ import annotations

import json
import statistics
import tempfile
import time
from pathlib import Path

import click
import pytest

from app.errors import Unavailable
from app.models import Host
from app.store.database import reading
from app.tasks import console
from tests.asking import add_image, adopt, caller, create, request
from tests.cloud import Cloud, running

HOPS = 3


@click.command()
@click.option("--servers", default=30, help="How many boots to measure.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write rows there.")
def main(servers: int, json_file: Path | None) -> None:
    """Measure boots one after the other."""
    with (
        tempfile.TemporaryDirectory() as folder,
        pytest.MonkeyPatch.context() as patch,
        running(Cloud(Path(folder))) as cloud,
    ):
        adopt(cloud, patch)
        cloud.start_control()
        cloud.start_host("n1")
        cloud.hosts_up("n1")
        boots = [_boot(cloud) for _ in range(servers)]
        hops = [_hop(cloud) for _ in range(servers)]
    _print("boot", boots, hops, json_file)


def _boot(cloud: Cloud) -> float:
    """Seconds from the request's acceptance to ACTIVE."""
    who = caller(cloud)
    image = add_image(cloud, who.project_id)
    [(server_id, action_id)] = create(cloud, who, image)
    action = cloud.finished(action_id)
    assert action.state == "succeeded", action.fault
    cloud.finished(request(who, server_id, "delete"))
    return float(action.finished_at or 0) - float(action.created_at)


def _hop(cloud: Cloud) -> float:
    """Seconds of HOPS round trips through the broker, a worker, and back."""
    with reading() as session:
        host = session.get(Host, "n1")
        assert host is not None
    begun = time.perf_counter()
    for _ in range(HOPS):
        with pytest.raises(Unavailable, match="console of server"):
            console.read("n1", host.uuid, "no-such-server", 1)
    return time.perf_counter() - begun


def _print(name: str, ours: list[float], baseline: list[float], json_file: Path | None) -> None:
    ratio = statistics.median(ours) / statistics.median(baseline)
    rows = [
        {
            "name": label,
            "hosts": 1,
            "unit": "ms",
            "median": round(statistics.median(values) * 1000, 1),
            "min": round(min(values) * 1000, 1),
            "max": round(max(values) * 1000, 1),
            "ratio": round(ratio, 2) if label == name else 1.0,
        }
        for label, values in ((name, ours), (f"{HOPS} Celery hops", baseline))
    ]
    for row in rows:
        click.echo(
            f"{row['name']:<16} {row['median']:>8} ms  (min {row['min']}, max {row['max']})"
            f"  ratio {row['ratio']}"
        )
    if json_file is not None:
        json_file.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
