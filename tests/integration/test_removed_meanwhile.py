"""Changes of a row that another request is removing, on PostgreSQL, where both really run."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete, text
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app.errors import Conflict
from app.models import Flavor, ImageMember, Network, SecurityGroup
from app.models.base import Base
from app.store import database
from tests.cloud import eventually
from tests.integration.test_web_identity_postgres import site
from tests.integration.test_web_image_members import IMAGES, other, shared
from tests.integration.test_web_networking import Api
from tests.integration.web_fixtures import Site

__all__ = ["other", "site"]


def waiting() -> bool:
    """Whether somebody waits for a row."""
    with database.engine().connect() as connection:
        found = connection.execute(text("SELECT count(*) FROM pg_locks WHERE NOT granted"))
        return found.scalar_one() > 0


def beside_removal(row: Base, ask: Callable[[], TestResponse]) -> TestResponse:
    """The answer to what is asked while `row` is being removed, and waits for that."""
    with ThreadPoolExecutor(1) as pool:
        with Session(database.engine()) as session, session.begin():
            session.delete(session.merge(row))
            session.flush()
            asked = pool.submit(ask)
            eventually(lambda: asked.done() or waiting(), 10, "it waits for the row")
        return asked.result(20)


def row(kind: type[Base], key: object) -> Base:
    with database.reading() as session:
        return session.get_one(kind, key)


def test_a_network_or_group_that_is_removed_meanwhile_is_a_conflict(site: Site) -> None:
    api = Api(site, "admin")
    kinds: tuple[tuple[str, type[Base]], ...] = (
        ("network", Network), ("security_group", SecurityGroup),
    )  # fmt: skip
    for noun, kind in kinds:
        made = api.make(noun, name="own")["id"]
        ask = lambda noun=noun, made=made: api.put(noun, made, name="other")  # noqa: E731
        answer = beside_removal(row(kind, made), ask)
        assert answer.status_code == 409, answer.text
        assert "at the same moment" in answer.json["NeutronError"]["message"]
        assert api.get(noun, made).status_code == 404


def test_a_membership_that_its_owner_takes_back_meanwhile_is_not_found(
    site: Site, other: str
) -> None:
    image = shared(site, other)
    path = f"{IMAGES}/{image}/members/{other}"
    site.token("guest")

    def accept() -> TestResponse:
        return site.call("PUT", path, "guest", json={"status": "accepted"})

    answer = beside_removal(row(ImageMember, (image, other)), accept)
    assert answer.status_code == 404, answer.text


def change_what_goes(id_: str, found_out: Callable[[Session, Flavor], object]) -> None:
    with database.transaction() as session:
        flavor = session.get_one(Flavor, id_)
        with database.transaction() as another:
            another.execute(delete(Flavor).where(Flavor.id == id_))
        found_out(session, flavor)
        flavor.name = "large"


@pytest.mark.parametrize(
    "found_out", [lambda s, flavor: None, Session.refresh, lambda s, flavor: s.expire(flavor)],
    ids=["written", "read anew", "looked at"],
)  # fmt: skip
def test_what_finds_its_row_gone_is_a_conflict(
    site: Site, found_out: Callable[[Session, Flavor], object]
) -> None:
    id_ = "00000000-0000-0000-0000-000000000001"
    with database.transaction() as session:
        session.add(Flavor(id=id_, name="small", vcpus=1, ram_mb=1, disk_gb=1))
    with pytest.raises(Conflict, match="at the same moment"):
        change_what_goes(id_, found_out)
