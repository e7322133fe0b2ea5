"""The scheduler's table in memory: what changed is seen at the next look; nothing else is read."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, select, text, update
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

from app.domain.resources import Resources
from app.errors import Unavailable
from app.models import Action, Host, Server
from app.scheduler.host_table import HostTable
from app.store import actions, aggregates, claims, hosts, hosts_admin
from app.store.database import engine, reading, transaction
from app.tasks.control import live_table
from app.tasks.control.live_table import ASSUMED, WHOLE_SECONDS, LiveTable
from tests.asking import add_image, adopt, caller, create
from tests.cloud import Cloud
from tests.integration.host_rows import add_host
from tests.postgres import fresh_database

NAMES = ("n1", "n2", "n3")


@pytest.fixture(params=["sqlite", "postgresql"])
def rows(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """A cloud's database with three hosts, on either kind; no process runs."""
    url = ""
    if request.param == "postgresql":
        url = fresh_database(request.getfixturevalue("postgres"), f"t{uuid.uuid4().hex}")
    made = Cloud(tmp_path, database_url=url)
    made.prepare()
    adopt(made, monkeypatch)
    for number, name in enumerate(NAMES):
        add_host(name, number + 1)
    yield made
    made.engine.dispose()


class Loaded:
    """Counts the host rows that this process reads from now on."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def __enter__(self) -> list[str]:
        event.listen(Host, "load", self._loaded)
        return self.names

    def __exit__(self, *raised: object) -> None:
        event.remove(Host, "load", self._loaded)

    def _loaded(self, host: Host, context: Any) -> None:
        self.names.append(host.name)


def look(table: LiveTable) -> HostTable:
    with reading() as session:
        return table.copy(session)


def set_host(name: str, **values: Any) -> None:
    with transaction() as session:
        session.execute(update(Host).where(Host.name == name).values(**values))


def test_only_hosts_that_changed_are_read_again(rows: Cloud) -> None:
    table = LiveTable()
    assert look(table).names == list(NAMES)
    set_host("n2", ram_mb=4096)
    set_host("n3", zone="east", enabled=False)
    with Loaded() as names:
        seen = look(table)
        again = look(table)
    assert seen.ram_mb.tolist() == [8192, 4096, 8192]
    assert seen.usable.tolist() == [1, 1, 0]
    assert [seen.zones.values[code] for code in seen.zones.codes] == ["nova", "nova", "east"]
    assert again.ram_mb.tolist() == seen.ram_mb.tolist()
    assert "n1" not in names


def test_a_heartbeat_is_no_change(rows: Cloud) -> None:
    table = LiveTable()
    look(table)
    with transaction() as session:
        hosts.touch(session, list(NAMES))
    with Loaded() as names:
        look(table)
    assert names == []


def test_a_claim_shows_at_the_next_look_and_so_does_its_release(rows: Cloud) -> None:
    who = caller(rows)
    [(server_id, _)] = create(rows, who, add_image(rows, who.project_id), ring=False)
    table = LiveTable()
    look(table)
    with transaction() as session:
        claims.take(session, {server_id: "n1"}, {server_id: Resources(1, 192, 1)})
    seen = look(table)
    assert (seen.used_ram_mb[0], seen.room_ram_mb[0], seen.servers[0]) == (192, 8192 - 512 - 192, 1)
    with transaction() as session:
        claims.release(session, server_id, "n1")
    seen = look(table)
    assert (seen.used_ram_mb[0], seen.servers[0]) == (0, 0)


def test_hosts_that_joined_or_were_forgotten_change_the_table(rows: Cloud) -> None:
    table = LiveTable()
    look(table)
    add_host("n0", 4)
    assert look(table).names == ["n0", "n1", "n2", "n3"]
    set_host("n3", state="down")
    with transaction() as session:
        hosts_admin.forget(session, "n3")
    assert look(table).names == ["n0", "n1", "n2"]
    set_host("n1", ram_mb=1024)
    assert look(table).ram_mb.tolist() == [8192, 1024, 8192]


def test_a_copy_that_is_decided_upon_does_not_see_later_changes(rows: Cloud) -> None:
    table = LiveTable()
    before = look(table)
    set_host("n1", zone="west", facts='{"traits": ["CUSTOM_SSD"]}', address="192.0.2.9")
    look(table)
    assert before.zones.masked(lambda zone: zone == "nova") is None
    assert before.texts[0][0] == "192.0.2.7"


def test_after_a_while_all_is_read_anew_whatever_the_marks_say(rows: Cloud) -> None:
    time = [0.0]
    table = LiveTable(lambda: time[0])
    look(table)
    with engine().begin() as connection:  # as a restored database would have it
        connection.execute(text("UPDATE hosts SET ram_mb = 1, changed = 0 WHERE name = 'n1'"))
    assert look(table).ram_mb[0] == 8192
    time[0] += WHOLE_SECONDS + 1
    assert look(table).ram_mb[0] == 1


def test_a_look_that_failed_half_way_is_made_again_whole(
    rows: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transaction() as session:
        made = aggregates.add(session, "east", None)
        aggregates.add_host(session, made.id, "n1")
    table = LiveTable()
    whole = live_table.aggregates_of

    def lost(session: Session) -> None:
        raise OperationalError("SELECT", {}, Exception("the connection was lost"))

    monkeypatch.setattr(live_table, "aggregates_of", lost)
    with pytest.raises(Unavailable):
        look(table)
    monkeypatch.setattr(live_table, "aggregates_of", whole)
    seen = look(table)
    assert [seen.aggregates.values[code] for code in seen.aggregates.codes] == [("east",), (), ()]


@pytest.mark.parametrize("rows", ["postgresql"], indirect=True)
def test_what_began_before_a_look_and_ended_after_it_is_seen_by_the_next(rows: Cloud) -> None:
    table = LiveTable()
    look(table)
    with Session(engine()) as slow, slow.begin():
        slow.execute(update(Host).where(Host.name == "n1").values(ram_mb=1024))
        set_host("n2", ram_mb=2048)  # begun later, over sooner
        assert look(table).ram_mb.tolist() == [8192, 2048, 8192]
        assert look(table).ram_mb.tolist() == [8192, 2048, 8192]
    assert look(table).ram_mb.tolist() == [1024, 2048, 8192]


def test_builds_in_flight_are_counted_as_the_session_sees_them(rows: Cloud) -> None:
    who = caller(rows)
    made = create(rows, who, add_image(rows, who.project_id), count=2, ring=False)
    with transaction() as session:
        for server_id, action_id in made:
            session.get_one(Server, server_id).host = "n2"
            session.get_one(Action, action_id).host = "n2"
    table = LiveTable()
    assert look(table).building.tolist() == [0, 2, 0]
    with transaction() as session:
        for action in session.scalars(select(Action)):
            action.finished_at = 1.0
    assert look(table).building.tolist() == [0, 0, 0]


def assuming(table: LiveTable) -> list[float]:
    """The RAM that each host has left, in MiB, when all that was chosen gets its host."""
    with reading() as session:
        return [float(room) for room in table.copy(session, assuming=True).room_ram_mb]


def chosen(rows: Cloud, table: LiveTable, action_id: str, host: str) -> None:
    """Let an action stand at its claim, with that choice."""
    with transaction() as session:
        action = session.get_one(Action, action_id)
        server = session.get_one(Server, action.server_id)
        action.selection = [host, "n3"]
        actions.enter(session, action, server, "claim")
    table.assume([(action, server)])


def test_what_was_chosen_counts_as_taken_until_it_is_claimed_or_gone(rows: Cloud) -> None:
    who = caller(rows)
    made = create(rows, who, add_image(rows, who.project_id), count=3, ring=False)
    size = rows.server(made[0][0]).ram_mb
    table = LiveTable()
    free = assuming(table)
    for _, action_id in made:
        chosen(rows, table, action_id, "n1")
    assert assuming(table) == [free[0] - 3 * size, free[1], free[2]]
    assert look(table).room_ram_mb.tolist() == free, "who refuses does not assume"
    (claimed, first), (_, second), (_, third) = made
    with transaction() as session:
        wanted = {claimed: Resources(1, size, 1)}
        claims.take(session, {claimed: "n1"}, wanted)
        session.get_one(Action, first).stage = "build"
        session.get_one(Action, second).stage = "schedule"
    assert assuming(table) == [free[0] - 2 * size, *free[1:]], "once as used, once as assumed"
    with transaction() as session:
        action = session.get_one(Action, third)
        server = session.get_one(Server, action.server_id)
        actions.finish(session, action, server, "failed")
    assert assuming(table) == [free[0] - size, *free[1:]]
    with transaction() as session:
        session.get_one(Action, second).stage = "claim"
    assert assuming(table) == [free[0] - size, *free[1:]], "another worker chooses for it now"


def test_no_more_choices_are_remembered_than_fit(rows: Cloud) -> None:
    table = LiveTable()
    server = Server(vcpus=1, ram_mb=64, disk_gb=1)
    table.assume(
        (Action(id=str(number), selection=["n1"]), server) for number in range(ASSUMED + 7)
    )
    assert len(table._assumed) == ASSUMED
    assert "6" not in table._assumed
    assert "7" in table._assumed
    free = assuming(table)
    assert table._assumed == {}, "none of them is in the database"
    assert free == look(table).room_ram_mb.tolist()
