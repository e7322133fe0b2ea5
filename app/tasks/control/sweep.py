"""The sweep: a thread in every scheduler worker that rings what is due. The guarantee.

Rows finish with the chain switched off. Copies of the sweep are harmless: each due row is
taken by one UPDATE, host states move by compare-and-set.
"""

from __future__ import annotations

import os
import random
import threading
import time
import uuid
from collections.abc import Sequence

import redis
from celery import bootsteps, current_app
from sqlalchemy.exc import SQLAlchemyError

from app import logs
from app.celery import Worker, app
from app.config import settings, software
from app.errors import NovellaError
from app.models import Host
from app.store import (
    host_networking,
    hosts,
    idempotency,
    plans,
    precaches,
    purging,
    ringing,
    sightings,
)
from app.store.database import clock, reading, transaction
from app.tasks import board, publish, results
from app.tasks.board import Beat, ControlBeat
from app.tasks.control import losses, placing, ring, waiting
from app.tasks.control.backlog import Backlog
from app.tasks.control.host_states import Watch
from app.tasks.workflow import SLOW

log = logs.get(__name__)
GAP_SECONDS = 5.0
PURGE_SECONDS = 600.0
TOUCH_SECONDS = 10.0
SAY_SECONDS = 4.0
LOOK_BACK_SECONDS = 60.0


class Sweep:
    """One worker's sweep: its watch over the hosts, and the epoch that it knows."""

    def __init__(self, name: str = "", queues: Sequence[str] = ()) -> None:
        self.name, self.queues = name, tuple(queues)
        self.said = float("-inf")
        self.watch = Watch(settings().down_after)
        self.epoch: str | None = None
        self.finished = self.healthy_since = time.monotonic()
        self.touched = 0.0
        self.heard: set[str] = set()
        self.purged = 0.0
        self.stored: set[str] = set()
        self._end = threading.Event()

    def start(self) -> None:
        """Start the sweep and the watchdog that ends the worker when a pass hangs."""
        threading.Thread(target=self._loop, name="sweep", daemon=True).start()
        threading.Thread(target=self._guard, name="sweep-watchdog", daemon=True).start()

    def stop(self) -> None:
        """End after the present pass."""
        self._end.set()

    def _loop(self) -> None:
        while not self._end.wait(settings().sweep_seconds * random.uniform(0.8, 1.2)):
            now = time.monotonic()
            if now - self.finished > GAP_SECONDS:
                self._distrust(now)
            try:
                self.run()
            except (NovellaError, SQLAlchemyError, *board.AWAY) as error:
                self._distrust(time.monotonic())
                cause = str(error.__cause__ or "")
                log.warning("sweep pass failed", error=str(error), cause=cause)
            except Exception:  # the sweep is the guarantee: it goes on
                log.exception("sweep pass failed")
            self.finished = time.monotonic()

    def _guard(self) -> None:
        stale = settings().stale_pass_seconds
        while not self._end.wait(stale / 12):
            if time.monotonic() - self.finished > stale:
                log.error("a sweep pass hangs: ending this worker for its supervisor to restart")
                os._exit(70)

    def run(self) -> None:
        """One pass."""
        backlog = Backlog()
        try:
            rows = self._look_at_hosts(backlog)
        except redis.RedisError as error:
            # Nothing could be rung: rows that are due stay due.
            self._distrust(time.monotonic())
            log.warning("Redis is away", error=str(error))
            return
        if time.monotonic() - self.healthy_since >= settings().down_after:
            self._expire()
        waiting.tell(rows)
        ring.ring_due(backlog)
        ring.ring_networking()
        ring.ring_precaches(backlog)
        self._store_results()
        self._purge()

    def _distrust(self, now: float) -> None:
        """Nothing is known of the time before: no host is declared down, no deadline kept by it.

        A sweep that has been healthy for `down_after` has rung whatever was due.
        """
        self.watch.restart(now)
        self.healthy_since = now

    def _look_at_hosts(self, backlog: Backlog) -> list[Host]:
        """Bring the hosts' rows in line with their beats; the rows as they were before."""
        beats = board.beats()
        self._say_alive()
        self._check_epoch()
        with reading() as session:
            rows = {host.name: host for host in hosts.all_hosts(session)}
            cloud = plans.cloud_id(session)
        board.announce(cloud)
        # Whom an operator declared down is down, whatever it says itself.
        forced = {name for name, row in rows.items() if row.forced_down}
        beats = [one for one in beats if one.cloud_id == cloud and one.host not in forced]
        alive = [name for name, row in rows.items() if row.state != hosts.DOWN]
        fresh, stale = self.watch.look(beats, alive, time.monotonic())
        for beat in fresh:
            self._apply(beat, rows.get(beat.host), backlog)
        self.heard |= {beat.host for beat in fresh}
        if time.monotonic() - self.touched > TOUCH_SECONDS:
            self.touched = time.monotonic()
            with transaction() as session:
                hosts.touch(session, sorted(self.heard))
            self.heard.clear()
        for name in {*stale, *(forced & set(alive))}:
            self._declare_down(name, rows[name])
        return list(rows.values())

    def _say_alive(self) -> None:
        """Let operators see this worker among the services."""
        now = time.monotonic()
        if self.name and now - self.said >= SAY_SECONDS:
            board.post_control(ControlBeat(self.name, self.queues, time.time(), software()))
            self.said = now

    def _check_epoch(self) -> None:
        found = board.epoch(str(uuid.uuid4()))
        if self.epoch is not None and found != self.epoch:
            log.warning("the broker lost its data: ringing everything unfinished")
            self._distrust(time.monotonic())
            with transaction() as session:
                ringing.ring_everything(session)
        self.epoch = found

    def _apply(self, beat: Beat, row: Host | None, backlog: Backlog) -> None:
        """Bring one host's row in line with its new beat."""
        if row is not None and row.uuid != beat.host_uuid:
            log.error("a second machine uses this host's name", host=beat.host, uuid=beat.host_uuid)
            reason = f"the name {beat.host} belongs to the machine {row.uuid}"
            board.refuse(beat.host, beat.host_uuid, reason)
            return
        if row is not None and row.speaks != beat.speaks:
            with transaction() as session:
                ringing.ring_host(session, beat.host)  # actions are locked before hosts
                hosts.note_version(session, beat.host, beat.speaks)
        if row is not None and (row.session != beat.session or row.state == hosts.DOWN):
            with transaction() as session:
                ringing.ring_host(session, beat.host)  # actions are locked before hosts
                hosts.begin_session(session, beat.host, beat.session)
                host_networking.renew(session, beat.host)
        elif row is not None:
            self._driver(beat, row, backlog)
        if row is None or (row.generation_session, row.generation) != (
            beat.session,
            beat.generation,
        ):
            self._reconcile(beat.host, backlog)
        if beat.tasks:
            self._sightings(beat)
        if beat.caching:
            with transaction() as session:
                precaches.note(session, beat.host, beat.caching)

    def _driver(self, beat: Beat, row: Host, backlog: Backlog) -> None:
        if not beat.driver_ok and row.state in (hosts.UP, hosts.RECONCILING):
            with transaction() as session:
                hosts.set_state(session, row.name, row.state, hosts.DRIVER_DOWN)
            log.warning("the hypervisor does not answer", host=row.name)
        elif beat.driver_ok and row.state == hosts.DRIVER_DOWN:
            with transaction() as session:
                ringing.ring_host(session, row.name)  # actions are locked before hosts
                hosts.set_state(session, row.name, hosts.DRIVER_DOWN, hosts.RECONCILING)
            self._reconcile(row.name, backlog)

    def _sightings(self, beat: Beat) -> None:
        seen = [(s.key, beat.host, s.percent, s.message, s.started) for s in beat.tasks]
        with transaction() as session:
            sightings.note(session, seen)

    def _declare_down(self, name: str, row: Host) -> None:
        ended = losses.host_is_down(name, row.state)
        if ended is not None and row.forced_down:
            log.warning("host is down: an operator said so", host=name)
        elif ended is not None:
            log.error("host is down: no heartbeat", host=name, seconds=settings().down_after)
        for action in ended or []:
            results.store(action)

    def _expire(self) -> None:
        with reading() as session:
            ids = ringing.overdue(session, losses.limits(), SLOW)
            late = precaches.overdue(session)
        if late:
            with transaction() as session:
                precaches.expire(session, late)
        for action_id in ids:
            with transaction() as session:
                ended = losses.expire(session, action_id)
            if ended is not None:
                results.store(ended)

    def _store_results(self) -> None:
        """What was pre-empted or cancelled, or was on no host, has no task to store its result.

        A transaction may commit later than a younger one: each look goes back a little.
        """
        with reading() as session:
            since = clock(session) - LOOK_BACK_SECONDS
            ended = ringing.ended_without_settle(session, since)
        for action in ended:
            if action.id not in self.stored:
                results.store(action)
        self.stored = {action.id for action in ended}

    def _purge(self) -> None:
        """Forget what nobody may ask for again: now and then, a bounded part of it at a time."""
        if time.monotonic() - self.purged < PURGE_SECONDS:
            return
        days, most = settings().purge_after_days, 0
        for forget in (purging.servers, purging.old_actions, precaches.purge) if days else ():
            with transaction() as session:
                most = max(most, forget(session, days))
        with transaction() as session:
            idempotency.purge(session)
        if most < purging.LIMIT:  # else the next pass goes on
            self.purged = time.monotonic()

    def _reconcile(self, host: str, backlog: Backlog) -> None:
        if not backlog.is_long(publish.control_queue("reconcile")):
            publish.control(current_app, "reconcile", host).apply_async()


class SweepStep(bootsteps.StartStopStep):
    """Starts the sweep with the worker."""

    requires = ("celery.worker.components:Pool",)

    def __init__(self, parent: Worker, **kwargs: object) -> None:
        super().__init__(parent, **kwargs)
        placing.policy()  # Celery names this step and the rule, and the worker ends
        queues = sorted(parent.app.amqp.queues.consume_from)
        self.sweep = Sweep(parent.hostname, queues)

    def start(self, parent: object) -> None:
        """Start the thread."""
        self.sweep.start()

    def stop(self, parent: object) -> None:
        """Let the thread end."""
        self.sweep.stop()


app.steps["worker"].add(SweepStep)
