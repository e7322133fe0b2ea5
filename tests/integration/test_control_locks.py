"""All writers lock in one order, and a stage is entered once: on PostgreSQL, where it can show."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from sqlalchemy import func, select, update

from app.domain.message import ABSENT, DONE, FAILED, Fault, Outcome
from app.domain.request_spec import ANTI_AFFINITY
from app.errors import Conflict, Invalid, NotFound, NovellaError
from app.models import Action, Allocation, Cleanup, Host, Port, Quota, Server, ServerGroup
from app.publisher import publisher
from app.store import actions, aggregates, cleanups, hosts, ringing, server_groups, sightings
from app.store.database import engine, reading, transaction
from app.tasks import board, publish
from app.tasks.board import Entry, Posting
from app.tasks.control import claim, losses, reconcile, schedule, verdict
from tests.asking import add_image, adopt, caller, create, forget_process_state, request
from tests.cloud import Cloud, eventually, running
from tests.integration.host_rows import add_host
from tests.postgres import fresh_database

SECONDS = 8.0
NAMES = ("n1", "n2", "n3")


@pytest.fixture
def either(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """A cloud on the database that the test names."""
    url = ""
    if request.param == "postgresql":
        url = fresh_database(request.getfixturevalue("postgres"), f"l{uuid.uuid4().hex}")
    with running(Cloud(tmp_path, database_url=url)) as made:
        adopt(made, monkeypatch)
        yield made
        engine().dispose()
        forget_process_state()


def boundless(project_id: str) -> None:
    """Let the project have whatever it wants."""
    with transaction() as session:
        for resource in ("instances", "cores", "ram", "server_group_members"):
            session.add(Quota(project_id=project_id, resource=resource, hard_limit=-1))


class Storm:
    """Every kind of writer at once, each on random rows of the same few servers."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud, self.who = cloud, caller(cloud)
        self.image = add_image(cloud, self.who.project_id)
        self.done: Counter[str] = Counter()
        self.errors: list[str] = []
        boundless(self.who.project_id)
        for number, name in enumerate(NAMES, 1):
            add_host(name, number, vcpus=64, ram_mb=65536, disk_gb=1000)

    def blow(self) -> None:
        """All writers for SECONDS."""
        writers = [self.create, self.create, self.settle, self.settle, self.reconcile, self.down]
        writers += [self.delete, self.bulk, self.clean, self.expire, self.group, self.aggregate]
        until = time.monotonic() + SECONDS
        threads = [threading.Thread(target=self._loop, args=(one, until)) for one in writers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SECONDS + 60)

    def _loop(self, work: Callable[[], None], until: float) -> None:
        while time.monotonic() < until:
            try:
                work()
                self.done[work.__name__] += 1
            except (Conflict, NotFound):
                continue
            except Exception as error:  # noqa: BLE001  (each is told at the end)
                self.errors.append(f"{work.__name__}: {error!r} {error.__cause__!r}"[:900])

    def create(self, **more: object) -> None:
        """Two servers, placed."""
        made = create(self.cloud, self.who, self.image, count=2, ring=False, **more)
        request_id = self.cloud.action(made[0][1]).request_id
        with transaction() as session:
            schedule.schedule(session, request_id)
        with transaction() as session:
            claim.claim(session, request_id)

    def group(self) -> None:
        """Two servers of a group that others place into and that is deleted now and then."""
        with transaction() as session:
            found = server_groups.page(session, self.who, all_projects=False, limit=1, offset=0)
            group = found[0] if found else ServerGroup(
                project_id=self.who.project_id, user_id=self.who.user_id, name="g",
                policy=ANTI_AFFINITY, max_server_per_host=1000,
            )  # fmt: skip
            if not found:
                server_groups.add(session, group)
        try:
            self.create(group_id=group.id)
        except Invalid:
            return  # another one has deleted it
        if random.random() < 0.1:
            with transaction() as session:
                server_groups.remove(session, self.who, group.id)

    def aggregate(self) -> None:
        """Hosts join an aggregate and leave it, and it sets their ratio."""
        with transaction() as session:
            found = aggregates.listed(session) or [aggregates.add(session, "a", None)]
            ratio = {"cpu_allocation_ratio": str(random.randrange(4, 16))}
            aggregates.change(session, found[0].id, None, ratio)
        with transaction() as session:
            there = aggregates.hosts_of(session, found)[found[0].id]
            name = random.choice(NAMES)
            move = aggregates.remove_host if name in there else aggregates.add_host
            move(session, found[0].id, name)

    def settle(self) -> None:
        """An outcome for a random action that is with a host."""
        with reading() as session:
            on_host = select(Action).where(Action.host.is_not(None), Action.finished_at.is_(None))
            action = session.scalars(on_host.order_by(func.random()).limit(1)).first()
            server = action and session.get(Server, action.server_id)
            if action is None or server is None:
                return
            key = actions.key_of(action, server)
        result = random.choice((DONE, DONE, FAILED, ABSENT))
        fault = Fault("bad_luck", "bad luck", retriable=True) if result == FAILED else None
        told = Outcome(key, server.id, action.host or "", result, fault, 1)
        with transaction() as session:
            held = actions.hold(session, key)
            if held is not None and held[0].host == told.host:
                verdict.apply(session, *held, told)

    def reconcile(self) -> None:
        """A host's inventory: some of its servers in any order, and some of others."""
        name = random.choice(NAMES)
        with reading() as session:
            host = session.get_one(Host, name)
            shown = session.execute(
                select(Server.id, Server.fence).order_by(func.random()).limit(20)
            ).all()
        guests = tuple(Entry(row.id, row.fence, True, 1) for row in shown)
        left = tuple((entry.server_id, entry.fence) for entry in guests[10:])
        board.post_inventory(
            Posting(name, self.cloud.cloud_id, host.uuid, host.session, random.randrange(1 << 30),
                    True, "boot", {}, guests[:10], left)
        )  # fmt: skip
        reconcile.reconcile(name)

    def down(self) -> None:
        """A host goes down and comes back."""
        name = random.choice(NAMES)
        with reading() as session:
            state = session.get_one(Host, name).state
        losses.host_is_down(name, state)
        with transaction() as session:
            ringing.ring_host(session, name)
            hosts.set_state(session, name, hosts.DOWN, hosts.UP)

    def delete(self) -> None:
        """A user deletes any server."""
        alive = select(Server.id).where(Server.deleted_at.is_(None)).order_by(func.random())
        with reading() as session:
            server_id = session.scalars(alive.limit(1)).first()
        if server_id is not None:
            request(self.who, server_id, "delete", ring=False)

    def bulk(self) -> None:
        """What sweeps do to many rows at once."""
        with transaction() as session:
            ringing.ring_everything(session)
        with transaction() as session:
            due = ringing.due_actions(session, list(NAMES))
            ringing.due_cleanups(session, list(NAMES))
        with transaction() as session:
            ringing.not_sent(session, [action.id for action, _ in due])
        with transaction() as session:
            seen = [(actions.key_of(a, s), a.host or "", 5, "", True) for a, s in due]
            sightings.note(session, random.sample(seen, len(seen)))
        with transaction() as session:
            hosts.touch(session, random.sample(NAMES, len(NAMES)))
        with transaction() as session:
            ringing.tell(session, random.choice(NAMES), f"waiting {random.random()}")

    def clean(self) -> None:
        """A host's word that something is gone, and an operator's that a host is."""
        with reading() as session:
            owed = session.scalars(select(Cleanup).order_by(func.random()).limit(1)).first()
        if owed is not None:
            with transaction() as session:
                cleanups.done(session, owed.id, owed.host, owed.fence)
        with transaction() as session:
            cleanups.write_off(session, random.choice(NAMES))

    def expire(self) -> None:
        """Deadlines."""
        with reading() as session:
            ids = ringing.overdue(session, ringing.Limits(0.5, 0.5, 0.5, 0.5), ["build"])
        for action_id in ids[:20]:
            with transaction() as session:
                losses.expire(session, action_id)


@pytest.mark.parametrize("either", ["postgresql"], indirect=True)
def test_no_two_writers_wait_for_each_other(either: Cloud) -> None:
    storm = Storm(either)
    storm.blow()
    assert storm.errors == []
    assert min(storm.done.values()) > 0, storm.done
    assert len(storm.done) == 10, storm.done
    with reading() as session:
        for host in session.scalars(select(Host)):
            held = select(func.coalesce(func.sum(Allocation.ram_mb), 0))
            assert session.scalar(held.where(Allocation.host == host.name)) == host.used_ram_mb


@pytest.mark.parametrize("either", ["sqlite", "postgresql"], indirect=True)
def test_a_request_that_many_workers_place_at_once_is_placed_once(either: Cloud) -> None:
    who = caller(either)
    image = add_image(either, who.project_id)
    boundless(who.project_id)
    for number, name in enumerate(NAMES, 1):
        add_host(name, number, vcpus=64, ram_mb=65536, disk_gb=1000)
    for _ in range(5):
        made = create(either, who, image, count=3, ring=False)
        request_id = either.action(made[0][1]).request_id
        gate = threading.Barrier(8)
        errors: list[Exception] = []

        def place(request_id: str = request_id, gate: threading.Barrier = gate,
                  errors: list[Exception] = errors) -> None:  # fmt: skip
            try:
                gate.wait(20)
                with transaction() as session:
                    schedule.schedule(session, request_id)
                with transaction() as session:
                    claim.claim(session, request_id)
            except (NovellaError, threading.BrokenBarrierError) as error:
                errors.append(error)

        threads = [threading.Thread(target=place) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        for server_id, action_id in made:
            action = either.action(action_id)
            assert (action.stage, either.server(server_id).fence) == ("build", 2)
            held = either.scalars(select(Allocation.host).where(Allocation.server_id == server_id))
            assert held == [action.host]
            assert len(either.scalars(select(Port).where(Port.server_id == server_id))) == 1
            assert [name for name, _, _ in either.events(action_id)] == [
                "schedule", "claim", "build",
            ]  # fmt: skip


@pytest.mark.parametrize("either", ["sqlite", "postgresql"], indirect=True)
def test_doubled_messages_to_two_control_workers_place_and_build_once(either: Cloud) -> None:
    either.start_control("control-1")
    either.start_control("control-2")
    either.start_host("n1")
    either.hosts_up("n1")
    who = caller(either)
    made = create(either, who, add_image(either, who.project_id), count=5)
    request_id = either.action(made[0][1]).request_id
    for _ in range(6):
        for stage in ("schedule", "claim"):
            publish.control(publisher(), stage, request_id).apply_async()
    for server_id, action_id in made:
        assert either.finished(action_id).state == "succeeded"
        assert either.server(server_id).fence == 2
        stages = [name for name, _, _ in either.events(action_id)]
        assert stages == ["schedule", "claim", "build", "commit", "resume"]
    assert len(either.scalars(select(Allocation))) == 5


@pytest.mark.parametrize("either", ["sqlite"], indirect=True)
def test_min_count_is_judged_until_a_server_of_the_request_was_placed(either: Cloud) -> None:
    who = caller(either)
    add_host("n1", 1, vcpus=1, cpu_ratio=2.0)
    made = create(either, who, add_image(either, who.project_id), count=3, ring=False)
    request_id = either.action(made[0][1]).request_id
    with transaction() as session:
        assert len(schedule.schedule(session, request_id)) == 3, "two of three fit: none is placed"
    made = create(either, who, add_image(either, who.project_id), count=2, ring=False,
                  max_count=3, min_count=2)  # fmt: skip
    request_id = either.action(made[0][1]).request_id
    with transaction() as session:
        session.execute(update(Host).values(cpu_ratio=3.0))
    with transaction() as session:
        schedule.schedule(session, request_id)
    with transaction() as session:
        # A race: one place is left for the two that come last, and their selection is used up.
        session.execute(update(Host).values(cpu_ratio=1.0))
    with transaction() as session:
        claimed = claim.claim(session, request_id)
        assert (len(claimed.built), claimed.again) == (1, True)
    with transaction() as session:
        session.execute(update(Host).values(cpu_ratio=2.0))
    with transaction() as session:
        ended = schedule.schedule(session, request_id)
    assert len(ended) == 1, "one of the two fits, and one is enough now"
    eventually(lambda: either.action(ended[0].id).finished_at, 5)
