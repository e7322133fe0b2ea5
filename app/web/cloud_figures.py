"""The cloud's figures for Prometheus: read at a scrape, and kept for a moment.

Gauges are a few counting queries over indexes. Counters of what happened (actions, stages) are
fed from the rows that ended since the last scrape, so every web process counts what it saw
since it began: exact, without a word from the workers, and with Redis away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

from prometheus_client import Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from app.broker import AWAY
from app.config import Settings
from app.errors import NovellaError
from app.images.store import room
from app.store import figures
from app.store.database import reading
from app.store.figures import Happened
from app.tasks import metering
from app.tasks.workflow import WORKFLOWS
from app.topology import topology
from app.web.broker_watch import BrokerWatch

KEEP_SECONDS = 2.0
WAIT_SECONDS = 5.0
AT_ONCE = 20_000
LOOK_BACK_SECONDS = 10.0
"""A transaction may commit later than a younger one: each look goes back a little."""
STAGE_SECONDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0)
BYTES = {"vcpus": 1, "ram_mb": 1 << 20, "disk_gb": 1 << 30}
NAMES = {"vcpus": "vcpus", "ram_mb": "ram_bytes", "disk_gb": "disk_bytes"}
HOST_STATES = ("up", "down", "reconciling", "driver_down", "forced_down")
VM_STATES = ("active", "building", "stopped", "error")
Fetch = Callable[[Session, float, int], list[Happened]]


class Follower:
    """Tells each thing that happened once, from now on."""

    def __init__(self, fetch: Fetch) -> None:
        self._fetch = fetch
        self._newest = time.time()
        self._begin = self._newest
        self._seen: dict[str | int, float] = {}

    def news(self, session: Session) -> list[Happened]:
        """What has happened since the last call, at most AT_ONCE of it."""
        since = max(self._newest - LOOK_BACK_SECONDS, self._begin)
        found = self._fetch(session, since, AT_ONCE)
        if len(found) == AT_ONCE and found[-1].at <= self._newest:
            found = self._fetch(session, self._newest, AT_ONCE)  # a flood: no looking back
        news = [one for one in found if one.key not in self._seen]
        self._newest = max([self._newest, *(one.at for one in news)])
        self._seen |= {one.key: one.at for one in news}
        old = self._newest - LOOK_BACK_SECONDS
        self._seen = {key: at for key, at in self._seen.items() if at >= old}
        return news


class CloudCollector(Collector):
    """Collects at most every KEEP_SECONDS; whoever asks in between gets the same again."""

    def __init__(self, settings: Settings, broker: BrokerWatch) -> None:
        self._images = settings.path("images")
        self._broker = broker
        self._lock = threading.Lock()
        self._kept: list[Metric] = []
        self._due = 0.0
        self._queues: list[str] = []
        self._accepted = Counter(
            "novella_actions_accepted",
            "Requests on servers that were accepted.",
            ("kind",),
            registry=None,
        )
        self._ended = Counter(
            "novella_actions_ended",
            "Requests on servers that ended.",
            ("kind", "state"),
            registry=None,
        )
        self._stages = Histogram(
            "novella_stage_seconds",
            "How long stages took, from their beginning to their answer.",
            ("kind", "stage", "direction", "result"),
            buckets=STAGE_SECONDS,
            registry=None,
        )
        self._followers = (
            (Follower(figures.accepted), lambda one: self._accepted.labels(*one.labels).inc()),
            (Follower(figures.finished), lambda one: self._ended.labels(*one.labels).inc()),
            (
                Follower(figures.stages),
                lambda one: self._stages.labels(*one.labels).observe(one.seconds),
            ),
        )

    def describe(self) -> list[Metric]:
        """Nothing: to register is not yet to ask the database."""
        return []

    def collect(self) -> list[Metric]:
        """All figures; what cannot be had now is left out."""
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            return self._kept
        try:
            if time.monotonic() >= self._due:
                self._kept = [*self._from_database(), *self._from_broker(), *self._from_disk()]
                self._due = time.monotonic() + KEEP_SECONDS
            return self._kept
        finally:
            self._lock.release()

    def _from_database(self) -> list[Metric]:
        up = _gauge("novella_database_up", "Whether the database answers.")
        try:
            with reading() as session:
                found = list(_gauges(session))
                for follower, count in self._followers:
                    for one in follower.news(session):
                        count(one)
                self._queues = [f"host-{name}" for name in figures.host_names(session)]
        except (NovellaError, SQLAlchemyError):
            up.add_metric((), 0)
            return [up]
        up.add_metric((), 1)
        counted = [*self._accepted.collect(), *self._ended.collect(), *self._stages.collect()]
        return [up, *found, *counted]

    def _from_broker(self) -> list[Metric]:
        broker = self._broker.look()
        up = _gauge("novella_broker_up", "Whether the broker answers this process.")
        up.add_metric((), broker.ok)
        made: list[Metric] = [up]
        if broker.age is not None:
            age = _gauge("novella_broker_age_seconds", "Since the broker answered last.")
            age.add_metric((), broker.age)
            made.append(age)
        if not broker.ok:
            return made
        length = _gauge("novella_queue_length", "Messages that wait in a queue.", "queue")
        rings = Metric("novella_rings", "Doorbells that were rung again.", "counter")
        try:
            names = [*_control_queues(), *self._queues]
            for queue, count in self._broker.broker.lengths(names).items():
                length.add_metric((queue,), count)
            rung = dict.fromkeys((*_stages(), metering.CLEANUP), 0)
            for stage, count in (rung | metering.rings(self._broker.board)).items():
                rings.add_sample("novella_rings_total", {"stage": stage}, count)
        except AWAY:
            return made
        return [*made, length, rings]

    def _from_disk(self) -> list[Metric]:
        try:
            used, free = room(self._images)
        except OSError:
            return []
        return [
            GaugeMetricFamily("novella_image_store_bytes", "In the image store.", used),
            GaugeMetricFamily(
                "novella_image_store_free_bytes", "Free on the image store's file system.", free
            ),
        ]


def _gauges(session: Session) -> Iterator[Metric]:
    yield from _waiting(session)
    count, oldest = figures.cleanups(session)
    yield GaugeMetricFamily("novella_cleanups", "What hosts must still remove.", count)
    yield GaugeMetricFamily("novella_cleanup_age_seconds", "Age of the oldest of them.", oldest)
    hosts = _gauge("novella_hosts", "Hosts by state.", "state")
    for state, count in (dict.fromkeys(HOST_STATES, 0) | figures.hosts(session)).items():
        hosts.add_metric((state,), count)
    yield hosts
    disabled = figures.disabled_hosts(session)
    yield GaugeMetricFamily("novella_hosts_disabled", "Hosts that take no new servers.", disabled)
    yield from _resources(session)
    servers = _gauge("novella_servers", "Servers that exist, by vm_state.", "vm_state")
    for state, count in (dict.fromkeys(VM_STATES, 0) | figures.servers(session)).items():
        servers.add_metric((state,), count)
    yield servers


def _waiting(session: Session) -> Iterator[Metric]:
    found = {one.stage: one for one in figures.waiting(session)}
    labels = ("stage", "queue")
    count = _gauge("novella_actions_unfinished", "Requests on servers at a stage.", *labels)
    age = _gauge("novella_action_age_seconds", "Since the oldest of them was accepted.", *labels)
    due = _gauge("novella_action_overdue_seconds", "Since the first due ring was due.", *labels)
    for stage in sorted({*_stages(), *found}):
        one = found.get(stage, figures.Waiting(stage, 0, 0.0, 0.0))
        where = (stage, topology().tasks.get(f"novella.{stage}", ""))
        count.add_metric(where, one.count)
        age.add_metric(where, one.oldest)
        due.add_metric(where, one.overdue)
    yield from (count, age, due)


def _resources(session: Session) -> Iterator[Metric]:
    capacity = _gauge("novella_capacity", "What all hosts have.", "resource")
    limit = _gauge("novella_limit", "What may be placed on them, by their ratios.", "resource")
    used = _gauge("novella_used", "What servers take of it.", "resource")
    for name, one in figures.resources(session).items():
        where, unit = (NAMES[name],), BYTES[name]
        capacity.add_metric(where, one.capacity * unit)
        limit.add_metric(where, one.limit * unit)
        used.add_metric(where, one.used * unit)
    yield from (capacity, limit, used)


def _stages() -> list[str]:
    """Every stage that an action may stand at."""
    steps = [step for flow in WORKFLOWS.values() for step in flow.steps if not step.inline]
    return sorted({step.name for step in steps})


def _control_queues() -> list[str]:
    return sorted({queue for queue in topology().tasks.values() if "{" not in queue})


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, labels=labels)
