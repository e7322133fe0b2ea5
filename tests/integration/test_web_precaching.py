"""Images for the hosts of an aggregate ahead of builds, over HTTP and in the rows."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import event, update
from werkzeug.test import TestResponse

from app.domain.message import Fault
from app.models import Host, Precache
from app.store import precaches
from app.store.database import engine, reading, transaction
from app.tasks.control import ring
from app.tasks.control.backlog import Backlog
from tests.cloud import allowed
from tests.integration.host_rows import SERVICES, V, add_host, admin
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
AGGREGATES = f"{V}/os-aggregates"


def make(site: Site, *hosts: str) -> int:
    """An aggregate with these hosts."""
    about = {"aggregate": {"name": f"of {len(hosts)}"}}
    made = site.post(AGGREGATES, "admin", json=about).json["aggregate"]["id"]
    for host in hosts:
        path, add = f"{AGGREGATES}/{made}/action", {"add_host": {"host": host}}
        assert site.post(path, "admin", json=add).status_code == 200
    return int(made)


def ask(site: Site, aggregate: Any, *images: str, user: str = "admin", **more: Any) -> TestResponse:
    """The answer to a request that the aggregate's hosts have these images."""
    cache = [{"id": one} for one in images]
    given = {"version": "2.81", "json": {"cache": cache}} | more
    return site.post(f"{AGGREGATES}/{aggregate}/images", user, **given)


def told(site: Site, aggregate: int) -> dict[str, dict[str, Any]]:
    """What the administrator is told of an aggregate with one image, by host."""
    shown = admin(site, f"/v1/aggregates/{aggregate}/images")["images"]
    return {one["host"]: one for one in shown}


def row(host: str = "n1") -> Precache:
    """The host's row."""
    with reading() as session:
        return next(one for one, _ in precaches.listed(session, [host]))


def due(*hosts: str) -> list[str]:
    """The ids of what these hosts are rung for now."""
    with transaction() as session:
        return [one.id for one in precaches.take(session, precaches.due(session, hosts))]


def settled(id_: str, attempt: int = 0, fault: Fault | None = None) -> str | None:
    """What a host's word makes of a row."""
    with transaction() as session:
        return precaches.settle(session, id_, "n1", attempt, fault)


def set_all(**columns: Any) -> None:
    """Set columns of every row."""
    with transaction() as session:
        session.execute(update(Precache).values(**columns))


def test_each_host_that_is_up_and_enabled_is_to_fetch_it_and_others_say_why_not(site: Site) -> None:
    add_host("n1", 1)
    add_host("n2", 2, state="down")
    add_host("n3", 3, enabled=False)
    add_host("n4", 4)
    image, aggregate = site.add_image(), make(site, "n1", "n2", "n3")
    answer = ask(site, aggregate, image)
    assert (answer.status_code, answer.data) == (202, b"")
    shown = told(site, aggregate)
    assert {name: one["state"] for name, one in shown.items()} == {
        "n1": "waiting", "n2": "skipped", "n3": "skipped",
    }  # fmt: skip
    assert (shown["n1"]["image_id"], shown["n1"]["progress"], shown["n1"]["fault"]) == (
        image, 0, None,
    )  # fmt: skip
    assert "n2 is down" in shown["n2"]["fault"]["message"]
    assert "disabled" in shown["n3"]["fault"]["message"]
    assert shown["n2"]["finished_at"] is not None
    assert len(due("n1", "n2", "n3", "n4")) == 1


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "missing: cache"),
        ({"cache": []}, "cache: has fewer than 1 items"),
        ({"cache": [{"id": "tiny"}]}, "cache.0.id"),
        ({"cache": [{}]}, "missing: id"),
        ({"cache": [{"id": str(uuid.UUID(int=1)), "x": 1}]}, "unknown: x"),
        ({"cache": [{"id": str(uuid.UUID(int=1))}] * 2}, "cache: has the same item twice"),
        ({"cache": [{"id": str(uuid.UUID(int=n))} for n in range(101)]}, "more than 100"),
        ({"cache": [{"id": str(uuid.UUID(int=1))}]}, "cache.0.id: there is no image"),
    ],
)
def test_a_bad_body_is_told_what_is_wrong_with_it(site: Site, body: Any, words: str) -> None:
    answer = ask(site, make(site), json=body)
    assert answer.status_code == 400
    assert words in answer.json["badRequest"]["message"]


def test_an_image_without_data_is_refused(site: Site) -> None:
    about = {"name": "empty", "disk_format": "raw", "container_format": "bare"}
    empty = site.post("/image/v2/images", "novella", json=about).json["id"]
    answer = ask(site, make(site), empty)
    assert answer.status_code == 400
    assert "is queued, not active" in answer.json["badRequest"]["message"]


def test_it_is_the_administrators_and_begins_with_2_81(site: Site) -> None:
    add_host("n1", 1)
    image, aggregate = site.add_image(), make(site, "n1")
    assert ask(site, aggregate, image, version="2.80").status_code == 404
    assert ask(site, aggregate, image, user="novella").status_code == 403
    assert ask(site, 4711, image).status_code == 404
    assert ask(site, "east", image).status_code == 400
    assert told(site, aggregate) == {}
    assert site.get(f"/v1/aggregates/{aggregate}/images", "novella").status_code == 403
    assert site.get("/v1/aggregates/4711/images", "admin").status_code == 404
    assert ask(site, aggregate, image, version="2.104").status_code == 202


def test_what_is_asked_again_goes_on_and_begins_anew_only_after_its_end(site: Site) -> None:
    add_host("n1", 1)
    image, aggregate = site.add_image(), make(site, "n1")
    ask(site, aggregate, image)
    first = row()
    set_all(deadline=first.deadline - 3600)
    ask(site, aggregate, image)
    again = row()
    assert (again.id, again.requested_at) == (first.id, first.requested_at)
    assert again.deadline >= first.deadline
    assert settled(first.id) == "cached"
    assert settled(first.id) is None, "a word that comes twice"
    assert told(site, aggregate)["n1"]["progress"] == 100
    ask(site, aggregate, image)
    assert row().id != first.id
    assert settled(first.id) is None, "a word about what is over"
    assert told(site, aggregate)["n1"]["state"] == "waiting"
    assert told(site, aggregate)["n1"]["progress"] == 0


def test_what_may_go_better_is_tried_three_times_and_then_failed_with_its_fault(site: Site) -> None:
    add_host("n1", 1)
    image, aggregate = site.add_image(), make(site, "n1")
    ask(site, aggregate, image)
    id_, away = row().id, Fault("image_unreachable", "no answer", retriable=True)
    for attempt in (0, 1):
        assert due("n1") == [id_]
        assert settled(id_, attempt, away) == "waiting"
        assert settled(id_, attempt, away) is None, "the same try is counted once"
        assert due("n1") == [], "not at once"
        assert told(site, aggregate)["n1"]["message"] == "no answer"
        set_all(next_ring_at=0)
    assert settled(id_, 2, away) == "failed"
    shown = told(site, aggregate)["n1"]
    assert (shown["state"], shown["fault"]["code"]) == ("failed", "image_unreachable")
    assert shown["fault"]["todo"]
    assert due("n1") == []


def test_what_cannot_go_better_is_failed_at_once(site: Site) -> None:
    add_host("n1", 1)
    aggregate = make(site, "n1")
    ask(site, aggregate, site.add_image())
    assert settled(row().id, 0, Fault("image_format", "neither", retriable=False)) == "failed"
    assert told(site, aggregate)["n1"]["fault"]["code"] == "image_format"


def test_a_host_that_went_away_is_waited_for_until_the_deadline(site: Site) -> None:
    add_host("n1", 1)
    aggregate = make(site, "n1")
    ask(site, aggregate, site.add_image())
    with transaction() as session:
        session.get_one(Host, "n1").state = "down"
    assert told(site, aggregate)["n1"]["message"] == "waiting: host n1 is down"
    assert due() == []
    with transaction() as session:
        assert precaches.overdue(session) == []
    set_all(deadline=1.0)
    with transaction() as session:
        precaches.expire(session, precaches.overdue(session))
    shown = told(site, aggregate)["n1"]
    assert (shown["state"], shown["fault"]["code"]) == ("failed", "deadline")


def test_a_host_gets_two_at_a_time_and_what_runs_is_not_rung(site: Site) -> None:
    add_host("n1", 1)
    aggregate = make(site, "n1")
    ask(site, aggregate, *(site.add_image() for _ in range(3)))
    first = due("n1")
    assert len(first) == 2
    assert due("n1") == []
    set_all(next_ring_at=0)
    with transaction() as session:
        precaches.note(session, "n1", {first[0]: 40})
    assert due("n1") == [first[1]]
    shown = admin(site, f"/v1/aggregates/{aggregate}/images")["images"]
    assert sorted(one["progress"] for one in shown) == [0, 0, 40]
    assert settled(first[0]) == "cached"
    (third,) = due("n1")
    assert third not in first


def test_a_host_that_is_forgotten_and_what_ended_long_ago_leave_no_rows(site: Site) -> None:
    add_host("n1", 1)
    gone = add_host("n2", 2)
    image, aggregate = site.add_image(), make(site, "n1", "n2")
    ask(site, aggregate, image)
    with transaction() as session:
        session.get_one(Host, "n2").state = "down"
    assert site.delete(f"{SERVICES}/{gone}", "admin", version="2.53").status_code == 204
    assert settled(row().id) == "cached"
    with transaction() as session:
        assert precaches.purge(session, 1) == 0
    set_all(finished_at=1.0)
    with transaction() as session:
        assert precaches.purge(session, 1) == 1
        assert session.query(Precache).count() == 0


def test_many_hosts_are_asked_some_at_a_time_and_who_writes_meanwhile_does_not_wait_for_all(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precaches, "ROWS_AT_ONCE", 4)
    names = [f"n{number}" for number in range(1, 6)]
    for number, name in enumerate(names):
        add_host(name, number + 1)
    pictures, aggregate = sorted(site.add_image() for _ in range(2)), make(site, *names)
    with recorded() as done:
        assert ask(site, aggregate, *pictures).status_code == 202
    assert done.count("INSERT precaches") == 3, "one statement for two hosts and two images"
    first, second, third = (n for n, what in enumerate(done) if what == "INSERT precaches")
    assert "COMMIT" in done[first:second], "each in a transaction of its own"
    assert "COMMIT" in done[second:third]
    with reading() as session:
        rows = [(row.host, row.image_id) for row, _ in precaches.listed(session, names)]
    assert rows == [(name, one) for name in names for one in pictures]


def test_what_is_due_is_looked_for_without_the_turn_to_write(site: Site) -> None:
    add_host("n1", 1)
    aggregate = make(site, "n1")
    ask(site, aggregate, site.add_image())
    with reading() as session, transaction() as writer:
        (id_,) = precaches.due(session, ["n1"])
        settled_meanwhile = precaches.settle(writer, id_, "n1", 0, None)
    assert settled_meanwhile == "cached"
    with transaction() as session:
        assert precaches.take(session, [id_]) == []


def test_a_pass_that_finds_nothing_due_needs_no_turn_to_write(site: Site) -> None:
    add_host("n1", 1)
    aggregate = make(site, "n1")
    ask(site, aggregate, site.add_image())
    assert len(due("n1")) == 1
    begun = time.monotonic()
    with transaction() as writer:
        writer.execute(update(Host).values(changed=Host.changed))
        ring.ring_precaches(Backlog())
    assert time.monotonic() - begun < allowed(5)


@contextmanager
def recorded() -> Iterator[list[str]]:
    """What is done to the database meanwhile: COMMIT, and the verb and table of inserts."""
    done: list[str] = []

    def statement(_: Any, __: Any, text: str, *___: Any) -> None:
        words = text.split()
        done.append(f"{words[0]} {words[2]}" if words[0] == "INSERT" else words[0])

    def commit(_: Any) -> None:
        done.append("COMMIT")

    for name, note in (("before_cursor_execute", statement), ("commit", commit)):
        event.listen(engine(), name, note)
    try:
        yield done
    finally:
        for name, note in (("before_cursor_execute", statement), ("commit", commit)):
            event.remove(engine(), name, note)
