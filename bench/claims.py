"""Claims a second, each in a transaction of its own and a hundred in one; and schedule → claim
through Celery and Redis. The hosts are rows that no worker serves: nothing is built.

The baseline is one claim a transaction on the same database.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, insert, select

from app.domain.message import newest
from app.domain.resources import Resources
from app.models import Action, Host, Quota
from app.store import claims, hosts
from app.store.database import transaction
from app.tasks import publish
from tests.asking import add_image, adopt, caller, create, forget_process_state
from tests.cloud import Cloud, eventually, running
from tests.postgres import postgresql

DATABASES = ("sqlite", "postgresql")
ALONE, BATCHED, AT_ONCE = 200, 1000, 100
REQUESTS, EACH = 20, 20
SMALL = Resources(1, 192, 1)
Row = dict[str, Any]


def measure(size: int) -> list[Row]:
    """All figures of a cloud of so many hosts, on both databases."""
    rows = []
    for kind in DATABASES:
        with _cloud(kind, size) as cloud:
            alone = _claims(cloud, ALONE, 1)
            batched = _claims(cloud, BATCHED, AT_ONCE)
            piped = _piped(cloud)
        for name, rate in (
            (f"claims on {kind}, one a transaction", alone),
            (f"claims on {kind}, {AT_ONCE} a transaction", batched),
            (f"schedule → claim on {kind}, {EACH} in one request", piped),
        ):
            rows.append(_row(name, size, rate, alone))
    return rows


@contextmanager
def _cloud(kind: str, size: int) -> Iterator[Cloud]:
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        url = stack.enter_context(postgresql()) if kind == "postgresql" else ""
        cloud = Cloud(Path(folder), {"down_after": "100000"}, database_url=url)
        stack.enter_context(running(cloud))
        adopt(cloud, patch)
        _add_hosts(size)
        with transaction() as session:
            project = caller(cloud).project_id
            for name in ("instances", "cores", "ram"):
                session.add(Quota(project_id=project, resource=name, hard_limit=-1))
        yield cloud
    forget_process_state()


def _add_hosts(size: int) -> None:
    same = {"session": "s", "state": "up", "vcpus": 64, "ram_mb": 262_144, "disk_gb": 4_000}
    same |= {"cpu_ratio": 4.0, "ram_ratio": 1.0, "disk_ratio": 1.0, "speaks": newest()}
    made = [
        same | {"name": f"host-{number:06}", "number": number + 1, "uuid": str(uuid.uuid4())}
        for number in range(size)
    ]
    with transaction() as session:
        for first in range(0, size, 2_000):
            session.execute(insert(Host), made[first : first + 2_000])


def _claims(cloud: Cloud, count: int, at_once: int) -> float:
    """Claims a second, over many hosts in turn."""
    servers = _wanted(cloud, count)
    names = cloud.scalars(select(Host.name).order_by(Host.name).limit(count))
    begun = time.perf_counter()
    for first in range(0, count, at_once):
        some = servers[first : first + at_once]
        chosen = {one: names[(first + at) % len(names)] for at, one in enumerate(some)}
        with transaction() as session:
            locked = hosts.hold(session, set(chosen.values()))
            asked = [claims.Wanted(one, [name], SMALL) for one, name in chosen.items()]
            found = claims.choose(locked, asked)
            claims.take(session, found, dict.fromkeys(found, SMALL))
        assert len(found) == len(some)
    return count / (time.perf_counter() - begun)


def _wanted(cloud: Cloud, count: int) -> list[str]:
    who = caller(cloud)
    image = add_image(cloud, who.project_id)
    return [one for one, _ in create(cloud, who, image, count=count, ring=False)]


def _piped(cloud: Cloud) -> float:
    """Servers a second from the first message to the last claim, by one scheduler worker."""
    with transaction() as session:  # those before are no business of the sweep's
        for action in session.scalars(select(Action).where(Action.finished_at.is_(None))):
            action.finished_at = 1.0
    cloud.spawn("scheduler", cloud._worker("scheduler"))
    eventually(lambda: "ready" in cloud.log("scheduler"), 60, "the scheduler worker is ready")
    waiting = []
    for _ in range(REQUESTS):
        who = caller(cloud)
        image = add_image(cloud, who.project_id)
        made = create(cloud, who, image, count=EACH, ring=False)
        waiting.append(cloud.action(made[0][1]))
    begun = time.perf_counter()
    for first in waiting:
        publish.ring([first, first])  # as of a request for many
    placed = select(func.count()).where(Action.stage == "build", Action.finished_at.is_(None))
    eventually(lambda: cloud.scalars(placed)[0] == REQUESTS * EACH, 300, "all are claimed")
    return REQUESTS * EACH / (time.perf_counter() - begun)


def _row(name: str, size: int, rate: float, baseline: float) -> Row:
    shown = round(rate, 1)
    return {
        "name": name,
        "hosts": size,
        "unit": "claims/s",
        "median": shown,
        "min": shown,
        "max": shown,
        "ratio": round(rate / baseline, 2),
    }
