"""The host agent: started by any worker that consumes a queue of the form `host-<name>`.

It opens the hypervisor, keeps the journal, posts heartbeats, progress and inventories, and
hands messages that are meant for this session to the intake.
"""

from __future__ import annotations

import fcntl
import math
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import redis
from celery import bootsteps, current_app

from app import logs
from app.celery import app
from app.config import Settings, settings, software
from app.domain.guest import HostFacts
from app.domain.message import HostMessage, Outcome
from app.domain.networking import networking, surviving
from app.errors import Cancelled, HostFault, NovellaError
from app.tasks import board
from app.tasks.board import Beat
from app.tasks.host.effects import Effects
from app.tasks.host.intake import Intake
from app.tasks.host.inventory import InventoryPoster
from app.tasks.host.journal import Journal
from app.tasks.host.precaching import Precaching, answer
from app.tasks.host.progress import ProgressPoster
from app.tasks.host.room import Room
from app.tasks.host.session import Session
from app.topology import topology
from app.virt.loader import load_driver

log = logs.get(__name__)
AGENTS: dict[str, Agent] = {}
HEALTH_SECONDS = 5.0
TIDY_SECONDS = 60.0
CLOUD_SECONDS = 120.0
TOMBSTONE_SECONDS = 30 * 86400.0
EXIT_SOFTWARE, EXIT_CONFIG = 70, 78


class Agent:
    """One hypervisor's agent; see the module."""

    def __init__(self, name: str, configured: Settings) -> None:
        self.name = name
        self.settings = configured
        self.directory = configured.path("hosts", name)
        self.directory.mkdir(parents=True, exist_ok=True)
        self._lock = _only_agent(self.directory / "agent.lock", name)
        self.journal = Journal(self.directory / "journal.sqlite")
        self.session = Session(configured.session_seconds)
        self.cloud_id = ""
        self.facts: HostFacts | None = None
        self.driver_ok = False
        self._seq = 0
        self.ended = threading.Event()
        self.ready = threading.Event()

    def start(self) -> None:
        """Begin in the background: a hung hypervisor must not hang the worker."""
        threading.Thread(target=self._begin_or_end, name=f"agent-{self.name}", daemon=True).start()

    def stop(self) -> None:
        """Let the threads end; guests run on."""
        self.ended.set()

    def _begin_or_end(self) -> None:
        """A worker whose agent could not begin would drop every message: rather none."""
        try:
            self._begin()
        except Exception:  # whatever it is, the supervisor starts the worker anew
            log.exception("the agent could not begin", host=self.name)
            os._exit(EXIT_SOFTWARE)

    def _begin(self) -> None:
        self.cloud_id = self._find_cloud()
        try:
            self.driver = load_driver(self.settings, self.name, self.cloud_id)
        except NovellaError as error:
            log.error("cannot load the driver", host=self.name, error=error.message)
            os._exit(EXIT_CONFIG)
        effects = Effects(
            self.driver,
            float(self.settings.shutdown_seconds),
            self.settings.cloud_url,
            self.settings.tls_ca,
        )
        self.precaching = Precaching(self.driver, self.ended, self.settings.cloud_url)
        self.intake = Intake(self.name, self.journal, effects, Room(self.settings.builds_per_host))
        while not self._open():
            if self.ended.wait(HEALTH_SECONDS):
                return
        self.ready.set()
        loops = (
            ("beat", self._beat_loop),
            ("inventory", self.inventory.loop),
            ("health", self._health_loop),
            ("progress", ProgressPoster(self.intake.tasks, self.ended).loop),
            ("tidy", self._tidy_loop),
            ("guard", lambda: self.intake.guard(self.ended)),
        )
        for name, loop in loops:
            threading.Thread(
                target=self._keep, args=(loop,), name=f"{name}-{self.name}", daemon=True
            ).start()

    def _keep(self, loop: Callable[[], None]) -> None:
        """Run a loop again after whatever ended it: a silent thread would be a silent host."""
        while not self.ended.is_set():
            try:
                loop()
            except Exception:  # see above
                log.exception("a loop of the agent failed; it goes on", host=self.name)
                self.ended.wait(HEALTH_SECONDS)

    def _find_cloud(self) -> str:
        """The cloud's id: configured, remembered, or announced by the control plane."""
        known = self.settings.cloud_id or self.journal.note("cloud_id")
        deadline = time.monotonic() + CLOUD_SECONDS
        while not known and time.monotonic() < deadline and not self.ended.wait(1.0):
            try:
                known = board.cloud_id()
            except redis.RedisError as error:
                log.warning("waiting for Redis", host=self.name, error=str(error))
        if not known:
            log.error(
                "no cloud found: set NOVELLA_CLOUD_ID, or start a scheduler worker on this broker",
                host=self.name,
            )
            os._exit(EXIT_CONFIG)
        self.journal.set_note("cloud_id", known)
        return known

    def _open(self) -> bool:
        try:
            self.driver.open()
            self.facts = self.driver.facts()
            self.inventory = InventoryPoster(self)
            self.driver.listen(self.inventory.guest_changed)
        except HostFault as error:
            log.error("cannot open the hypervisor", host=self.name, error=error.message)
            return False
        self.driver_ok = True
        return True

    def _beat_loop(self) -> None:
        while not self.ended.is_set():
            self.beat()
            self.ended.wait(self.settings.beat_seconds)

    def beat(self) -> None:
        """Post one heartbeat; a session that was cut off too long is begun anew first."""
        session = self.session.current()
        if session != self.inventory.session:
            log.info("new session", host=self.name, session=session)
            self.inventory.wake()
        self._seq += 1
        beat = Beat(
            host=self.name,
            cloud_id=self.cloud_id,
            host_uuid=self.uuid,
            session=session,
            seq=self._seq,
            driver_ok=self.driver_ok,
            generation=self.inventory.generation,
            tasks=self.intake.tasks.sightings(),
            at=time.time(),
            software=software(),
            caching=self.precaching.percents(),
        )
        try:
            board.post_beat(beat)
            self.session.beat_got_through(session)
            reason = board.refusal(self.name, self.uuid)
        except redis.RedisError as error:
            log.warning("heartbeat not posted", host=self.name, error=str(error))
            return
        if reason is not None:
            log.error("this host is refused; give it another name", host=self.name, reason=reason)
            os._exit(EXIT_CONFIG)

    def _health_loop(self) -> None:
        while not self.ended.wait(HEALTH_SECONDS):
            was, self.driver_ok = self.driver_ok, self.driver.healthy()
            if self.driver_ok and not was:
                self.inventory.wake()
            if was and not self.driver_ok:
                log.error("the hypervisor does not answer", host=self.name)

    def _tidy_loop(self) -> None:
        """In a thread of its own: looking for what is unused must not delay a heartbeat."""
        while not self.ended.is_set():
            try:
                self.driver.tidy()
                self._forget_tombstones()
            except HostFault as error:
                log.warning("not tidied", host=self.name, error=error.message)
            self.ended.wait(TIDY_SECONDS)

    def _forget_tombstones(self) -> None:
        """Records of removals that nobody may ask for again, if nothing of the server is here."""
        old = self.journal.tombstones(time.time() - TOMBSTONE_SECONDS)
        if not old:
            return
        found = self.driver.inventory()
        here = {guest.server_id for guest in found.guests} | {*found.disks, *found.dhcp}
        if found.complete:
            self.journal.forget(sorted(old - here), time.time() - TOMBSTONE_SECONDS)

    @property
    def uuid(self) -> str:
        """The machine's identity, as its hypervisor tells it."""
        return self.facts.uuid if self.facts else ""

    def secure(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Put networking into force, if it was sent to this machine in this session."""
        if not self._is_ours(message["cloud_id"], message["host_uuid"], message["session"]):
            return None
        fault = ""
        try:
            # What was read before a server went must not bring its ports back.
            gone = self.journal.tombstones(math.inf)
            self.driver.secure(surviving(networking(message["networking"]), gone))
        except HostFault as error:
            fault = error.message
        except (KeyError, TypeError) as error:
            fault = f"broken networking: {error}"
        revision = message["networking"].get("revision", 0)
        return {"host": self.name, "revision": revision, "fault": fault}

    def precache(self, message: dict[str, Any]) -> dict[str, Any] | None:
        """Fetch an image ahead of builds; None drops what is not for us, or runs already."""
        if not self._is_ours(message["cloud_id"], message["host_uuid"], message["session"]):
            return None
        try:
            return answer(message, self.precaching.fetch(message))
        except Cancelled as error:
            log.info("no image is fetched", host=self.name, reason=error.message)
            return None

    def _is_ours(self, *sent_to: str) -> bool:
        """Whether a message was sent to this machine (cloud, machine, session), and now."""
        return self.ready.is_set() and sent_to == (self.cloud_id, self.uuid, self.session.current())

    def handle(self, message: HostMessage) -> Outcome | None:
        """Run a message, if it was sent to this machine in this session; None drops it."""
        if not self._is_ours(message.cloud_id, message.host_uuid, message.session):
            log.info("dropped: sent to another session", stage=message.key.stage)
            return None
        outcome = self.intake.handle(message)
        self.inventory.task_ended(message.server_id, outcome)
        return outcome


def _only_agent(path: Path, name: str) -> IO[str]:
    """Hold the lock of this host's state; ends the process when another agent holds it."""
    lock = path.open("a")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        log.error("another agent runs for this host and state directory", host=name)
        os._exit(EXIT_CONFIG)
    return lock


class AgentStep(bootsteps.StartStopStep):
    """Starts an agent for each `host-<name>` queue of the worker."""

    requires = ("celery.worker.components:Pool",)

    def start(self, parent: object) -> None:
        """Start the agents."""
        queues = list(current_app.amqp.queues.consume_from)
        for name in topology().hosts(queues):
            AGENTS[name] = Agent(name, settings())
            AGENTS[name].start()

    def stop(self, parent: object) -> None:
        """Stop the agents."""
        for agent in AGENTS.values():
            agent.stop()


app.steps["worker"].add(AgentStep)
