"""Strikes the blows of the plan, and notes when each began and when its damage was undone."""

from __future__ import annotations

import signal
import threading
import time
import traceback
from dataclasses import dataclass
from random import Random

from tests.chaos.plan import LOCAL, Blow, blows
from tests.chaos.thief import Thief
from tests.chaos.world import World
from tests.postgres import CRASH


@dataclass(frozen=True)
class Struck:
    """A blow as it was: seconds since the epoch, and the hosts that it touched; none means all."""

    kind: str
    begun: float
    ended: float
    hosts: tuple[str, ...] = ()


class Saboteur:
    """A thread for the plan, and one for each blow that lasts."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.struck: list[Struck] = []
        self.failed: list[str] = []
        self.stolen = 0
        self._ended = threading.Event()
        self._threads: list[threading.Thread] = []
        self._thread = threading.Thread(target=self._run, name="saboteur", daemon=True)
        self._kinds = {
            "web": self._web,
            "scheduler": self._scheduler,
            "host_short": self._kill_hosts,
            "host_long": self._kill_hosts,
            "host_hang": self._hang_hosts,
            "redis_kill": self._kill_redis,
            "redis_flush": self._flush_redis,
            "redis_hang": self._hang_redis,
            "database": self._kill_database,
            "rabbitmq_kill": self._kill_rabbit,
            "libvirtd_kill": self._kill_libvirtd,
            "network_cut": self._cut,
            "messages": self._steal,
        }

    def start(self) -> None:
        """Begin with the plan."""
        self._thread.start()

    def finish(self, seconds: float) -> None:
        """Wait until the last blow of the plan is over, at most `seconds`."""
        deadline = time.monotonic() + seconds
        for thread in (self._thread, *self._threads):
            thread.join(max(0.0, deadline - time.monotonic()))

    def stop(self) -> None:
        """Strike nothing more, and undo now what lasts."""
        self._ended.set()
        self.finish(90)

    def _run(self) -> None:
        begun = time.monotonic()
        for blow in blows(self.world.options):
            if self._ended.wait(max(0.0, begun + blow.at - time.monotonic())):
                return
            thread = threading.Thread(
                target=self._strike, args=(blow,), name=blow.kind, daemon=True
            )
            self._threads.append(thread)
            thread.start()

    def _strike(self, blow: Blow) -> None:
        workers = self.world.fleet.workers
        hosts = workers[blow.victim].hosts if blow.kind in LOCAL else ()
        begun = time.time()
        try:
            self._kinds[blow.kind](blow)
        except Exception:  # noqa: BLE001  (a blow that fails must not end the others)
            self.failed.append(f"{blow.kind} at {blow.at}: {traceback.format_exc()}")
        self.struck.append(Struck(blow.kind, begun, time.time(), hosts))

    def _last(self, blow: Blow) -> None:
        self._ended.wait(blow.lasts)

    def _kill(self, name: str, blow: Blow) -> None:
        self.world.kill(name)
        self._last(blow)
        self.world.release(name)

    def _web(self, blow: Blow) -> None:
        self._kill("web", blow)
        self.world.await_web()

    def _scheduler(self, blow: Blow) -> None:
        self._kill(f"scheduler-{blow.victim}", blow)

    def _kill_hosts(self, blow: Blow) -> None:
        self._kill(self.world.fleet.workers[blow.victim].name, blow)

    def _hang_hosts(self, blow: Blow) -> None:
        name = self.world.fleet.workers[blow.victim].name
        self.world.signal(name, signal.SIGSTOP)
        self._last(blow)
        self.world.signal(name, signal.SIGCONT)

    def _kill_redis(self, blow: Blow) -> None:
        self.world.redis.signal(signal.SIGKILL)
        self._last(blow)
        self.world.redis.start()

    def _flush_redis(self, blow: Blow) -> None:
        with self.world.redis.client() as client:
            client.flushall()

    def _hang_redis(self, blow: Blow) -> None:
        self.world.redis.signal(signal.SIGSTOP)
        self._last(blow)
        self.world.redis.signal(signal.SIGCONT)

    def _kill_database(self, blow: Blow) -> None:
        assert self.world.postgres is not None
        self.world.postgres.stop(CRASH)
        self._last(blow)
        self.world.postgres.start()

    def _kill_rabbit(self, blow: Blow) -> None:
        self.world.rabbit.kill()
        self._last(blow)
        self.world.rabbit.start()

    def _kill_libvirtd(self, blow: Blow) -> None:
        self.world.fleet.kill_libvirtd(blow.victim, blow.lasts)

    def _cut(self, blow: Blow) -> None:
        self.world.fleet.cut(blow.victim, off=True)
        self._last(blow)
        self.world.fleet.cut(blow.victim, off=False)

    def _steal(self, blow: Blow) -> None:
        queues = [f"host-{host}" for host in self.world.hosts] + ["scheduler", "conductor"]
        url = self.world.cloud.settings["broker_url"]
        random = Random(f"{self.world.options.seed}/thief/{blow.at}")
        self.stolen += Thief(url, queues, random).rob(blow.lasts, self._ended)
