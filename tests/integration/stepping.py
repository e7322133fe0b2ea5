"""Workflows on libvirt's test driver whose workers die at one moment each.

libvirt's pretence of a hypervisor runs in a libvirtd of our own and is held open by this process,
so that its guests outlive the worker, as real ones do. Workers are real processes, started by
zygotes; Redis, database, image server, disks, config drives and journal are real.
"""

from __future__ import annotations

import json
import re
import sqlite3
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import libvirt
from celery import Signature, chain
from sqlalchemy import select

from app import failpoints
from app.celery import make_app
from app.domain.message import outcome, to_message
from app.models import Action, Allocation, Base, Cleanup, Host, Port, Server
from app.publisher import publisher
from app.store.database import reading
from app.tasks import messages, publish
from app.tasks.workflow import WORKFLOWS
from tests.asking import adopt, caller, create, request
from tests.cloud import Cloud, eventually, running
from tests.http_client import Client
from tests.integration.step_flows import CONTROL, HOST, Flow, worker_of
from tests.integration.virt_fixtures import OwnLibvirtd
from tests.postman import Postman
from tests.zygote import Zygote

Answer = TypeVar("Answer")
SETTINGS = {"driver": "app.virt.libvirt.driver:LibvirtDriver", "virt_type": "qemu"}
SETTINGS |= {"sweep_seconds": "0.2", "beat_seconds": "0.5", "shutdown_seconds": "2"}
CONTROL_MODULES = ("app.tasks.control.tasks", "app.tasks.control.sweep")
HOST_MODULES = ("app.tasks.host.tasks", "app.tasks.host.agent", SETTINGS["driver"].split(":")[0])
QUEUES = ("scheduler", "conductor", HOST)


@dataclass
class Walk:
    """One cloud with one host, n1, whose workers die and are started again."""

    cloud: Cloud
    link: Any
    zygotes: dict[str, Zygote]
    image: str = ""
    kept: list[Signature] = field(default_factory=list)

    @property
    def points(self) -> Path:
        return self.cloud.directory / "failpoints"

    def start(self, name: str) -> None:
        """Start a worker that is not there."""
        self.zygotes[name].start(name, HOST if name == HOST else "scheduler,conductor")

    def until_dead(self, name: str, count: int) -> None:
        """Wait until so many workers of that name have died, the last one by its failpoint."""
        deaths = self.zygotes[name].deaths
        eventually(lambda: len(deaths(name)) == count, 40, f"{name} dies")
        assert deaths(name)[-1] == failpoints.EXIT_CODE

    def die_at(self, moment: str, ask: Callable[[], Answer]) -> Answer:
        """Ask, and wait for the death of the worker that reaches `moment`; what `ask` answers."""
        name = worker_of(moment)
        count = len(self.zygotes[name].deaths(name)) + 1
        (self.points / moment).touch()
        answer = ask()
        self.until_dead(name, count)
        return answer

    def session(self) -> str:
        """The host's session as the database knows it."""
        return str(self.cloud.scalars(select(Host.session))[0])

    def until_session_after(self, before: str) -> None:
        """Wait until the host's new worker is trusted."""
        eventually(lambda: self.session() != before, 20, "the host's new session is known")
        self.cloud.hosts_up("n1")

    # What a workflow starts from, and asks for.

    def create(self) -> tuple[str, str]:
        """Ask for a server, whose image is not in the cache; (server id, action id)."""
        for cached in (self.cloud.directory / "hosts/n1/cache").glob("*.image"):
            cached.unlink()
        return create(self.cloud, caller(self.cloud), self.image)[0]

    def active(self) -> str:
        """A server that runs."""
        server_id, action_id = self.create()
        assert self.cloud.finished(action_id).state == "succeeded", self.cloud.action(action_id)
        return server_id

    def request(self, server_id: str, kind: str, **args: Any) -> str:
        """Ask for something; the action's id."""
        return request(caller(self.cloud), server_id, kind, **args)

    def domain(self, server_id: str) -> Any:
        """The server's guest as libvirtd has it."""
        return self.link.lookupByUUIDString(server_id)

    def progress(self, server_id: str, action_id: str) -> object:
        """How far the action, a cleanup and the host have come: no ring alone changes it."""
        action = self.cloud.action(action_id)
        owed = self.cloud.scalars(select(Cleanup.fence).where(Cleanup.server_id == server_id))
        here = [row for row in self.journal() if row["server_id"] == server_id]
        return (action.stage, action.direction, action.finished_at), owed, here

    def owes(self, server_id: str, action_id: str) -> bool:
        """Whether there is something left to do."""
        owed = self.cloud.scalars(select(Cleanup).where(Cleanup.server_id == server_id))
        return bool(owed) or self.cloud.action(action_id).finished_at is None

    def life(self, server_id: str) -> int:
        """A number that libvirtd gives anew each time the guest starts; -1 when it is not there."""
        try:
            return int(self.domain(server_id).ID())
        except libvirt.libvirtError:
            return -1

    # Delivering again.

    def keep(self, server_id: str, action_id: str) -> list[Signature]:
        """The message that the action or cleanup waits for, if any, also to be sent late."""
        found: Signature | None = None
        with reading() as session:
            action, server = session.get(Action, action_id), session.get(Server, server_id)
            cleanup = session.scalar(select(Cleanup).where(Cleanup.server_id == server_id))
            host = session.get(Host, "n1")
            if action is not None and server is not None and action.finished_at is None:
                found = Postman._message(session, action, server)
            elif cleanup is not None and host is not None:
                message = messages.for_cleanup(session, cleanup, host)
                found = _for_host("destroy", message)
        told = [found] if found is not None else []
        told += self._outcome(server_id)
        self.kept += told
        return told

    def _outcome(self, server_id: str) -> list[Signature]:
        """What the host has to say of the server's newest message, as settle gets it."""
        known = [row for row in self.journal() if row["server_id"] == server_id and row["outcome"]]
        return [
            publish.settle(publisher()).clone(args=(to_message(outcome(row["outcome"])),))
            for row in known
        ]

    def deliver_late(self) -> None:
        """Everything that was kept, twice, as if it had been sent in the host's present session."""
        for signature in [*self.kept, *reversed(self.kept)]:
            _in_session(signature, self.session()).apply_async()
        self.kept.clear()
        self.quiet()

    def quiet(self) -> None:
        """Wait until no message waits or runs anywhere, and the newest inventory is compared."""
        redis = self.cloud.redis()
        inspect = make_app().control.inspect(timeout=2.0, limit=len(self.zygotes))

        def idle() -> bool:
            if sum(int(redis.llen(queue)) for queue in QUEUES) or not self.compared():
                return False
            active = inspect.active() or {}
            return len(active) == len(self.zygotes) and not any(active.values())

        eventually(lambda: idle() and idle(), 30, "queues are empty and workers idle")

    def compared(self) -> bool:
        """Whether the host's newest inventory counts: one that waits makes its servers ask it."""
        text = self.cloud.redis().get("inv:n1")
        newest = json.loads(str(text)) if text else {}
        columns = select(Host.generation_session, Host.generation)
        with reading() as session:
            row = session.execute(columns.where(Host.name == "n1")).one_or_none()
        return row is not None and tuple(row) == (newest.get("session"), newest.get("generation"))

    # Looking.

    def journal(self) -> list[dict[str, Any]]:
        """The host's journal."""
        path = self.cloud.directory / "hosts/n1/journal.sqlite"
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
            database.row_factory = sqlite3.Row
            rows = [dict(row) for row in database.execute("SELECT * FROM records")]
        return [row | {"outcome": row["outcome"] and json.loads(row["outcome"])} for row in rows]

    def here(self) -> dict[str, object]:
        """What the hypervisor and its disks hold: guests, DHCP entries, files."""
        domains = {one.UUIDString(): one.state()[0] for one in self.link.listAllDomains()}
        entries = [
            entry.get("name", "")
            for network in self.link.listAllNetworks()
            for entry in ET.fromstring(network.XMLDesc()).findall("ip/dhcp/host")
        ]
        folder = self.cloud.directory / "hosts/n1/instances"
        files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
        domains.pop(self.own_domain, None)
        return {
            "domains": domains,
            "dhcp": sorted(name for name in entries if len(name) > 36),
            "files": files,
        }

    def everything(self) -> dict[str, object]:
        """All that a late message could change, by where it is; read while the host is up."""
        self.cloud.hosts_up("n1")
        return {**self.cloud.dump("starts"), "here": self.here(), "journal": self.journal()}

    def _is_empty(self, table: type[Base]) -> bool:
        return not self.cloud.scalars(select(table))

    @property
    def own_domain(self) -> str:
        """The guest that libvirt's test driver is born with."""
        return str(self.link.lookupByName("test").UUIDString())

    def well_ended(self, flow: Flow, server_id: str, action_id: str) -> None:
        """The action ended as it should, and the host has what the row says, once."""
        state, vm_state, guest = flow.ends
        action = self.cloud.action(action_id)
        assert (action.state, self.cloud.server(server_id).vm_state) == (state, vm_state), (
            action.fault,
            self.cloud.events(action_id),
        )
        if flow.straight:
            stages = [(step.name, "do", "succeeded") for step in WORKFLOWS[action.kind].steps]
            assert self.cloud.events(action_id) == stages
        present = {} if guest is None else {server_id: guest}
        here = self.here()
        assert here["domains"] == present
        assert {name[-36:] for name in here["dhcp"]} == set(present)  # type: ignore[attr-defined]
        assert len(here["dhcp"]) == len(self.cloud.scalars(select(Port)))  # type: ignore[arg-type]
        names = ["config-F.iso", "disk-F.qcow2", "owner.json"] if present else []
        names += ["rescue-F.qcow2"] if vm_state == "rescued" else []
        files = [re.sub(r"-\d+\.", "-F.", Path(str(one)).name) for one in here["files"]]  # type: ignore[attr-defined]
        assert files[1:] == names
        for record in self.journal():
            assert record["state"] == "done", record
        [mine] = [row for row in self.journal() if row["server_id"] == server_id]
        assert mine["fence"] <= self.cloud.server(server_id).fence

    def leave_nothing(self, server_id: str) -> None:
        """Delete the server, unless it is; then nothing of it may be left anywhere."""
        if self.cloud.server(server_id).deleted_at is None:
            gone = self.cloud.finished(self.request(server_id, "delete"))
            assert gone.state == "succeeded", gone.fault
        for table in (Allocation, Port, Cleanup):
            # An inventory from before the end may yet have made a cleanup.
            eventually(partial(self._is_empty, table), 20, table.__tablename__)
        assert self.cloud.scalars(select(Host.used_ram_mb)) == [0]
        assert self.here() == {"domains": {}, "dhcp": [], "files": []}


def _for_host(stage: str, message: dict[str, Any]) -> Signature:
    app = publisher()
    return chain(publish.on_host(app, stage, message), publish.settle(app), app=app)


def _in_session(signature: Signature, session: str) -> Signature:
    """A host's message as it would be had it been sent in that session; others as they are."""
    tasks = getattr(signature, "tasks", None)
    if not tasks:
        return signature
    [message] = tasks[0].args
    return _for_host(message["key"]["stage"], {**message, "session": session})


def open_walk(directory: Path, own: OwnLibvirtd, blank_image: Path, patch: Any) -> Iterator[Walk]:
    """A cloud whose host n1 is libvirt's test driver in `own`."""
    (directory / "failpoints").mkdir()
    uri = f"test+unix:///default?socket={own.daemon.socket}"
    settings = SETTINGS | {"failpoints": str(directory / "failpoints"), "libvirt_uri": uri}
    cloud = Cloud(directory, settings=settings)
    with ExitStack() as stack:
        link = libvirt.open(uri)
        stack.callback(link.close)
        stack.enter_context(running(cloud))
        adopt(cloud, patch)
        zygotes = {CONTROL: Zygote(cloud, *CONTROL_MODULES), HOST: Zygote(cloud, *HOST_MODULES)}
        for zygote in zygotes.values():
            stack.callback(zygote.close)
        walk = Walk(cloud, link, zygotes)
        cloud.start_web()
        for name in zygotes:
            walk.start(name)
        cloud.hosts_up("n1", seconds=60)
        walk.image = Client(f"http://127.0.0.1:{cloud.web_port}").upload(blank_image)
        yield walk
