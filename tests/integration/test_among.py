"""Many ids in one statement, on either database."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.models import SecurityGroup, ServerSecurityGroup, ServerTag
from app.store import server_listing, server_security, server_tags
from app.store.database import reading, transaction
from tests.asking import add_image, adopt, caller, create
from tests.cloud import Cloud
from tests.postgres import fresh_database


@pytest.fixture(params=["sqlite", "postgresql"])
def rows(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Cloud]:
    """A cloud's database on either kind; no process runs."""
    url = ""
    if request.param == "postgresql":
        url = fresh_database(request.getfixturevalue("postgres"), f"t{uuid.uuid4().hex}")
    made = Cloud(tmp_path, database_url=url)
    made.prepare()
    adopt(made, monkeypatch)
    yield made
    made.engine.dispose()


def test_what_a_list_shows_of_its_servers_is_theirs_and_no_other_s(rows: Cloud) -> None:
    who = caller(rows)
    made = create(rows, who, add_image(rows, who.project_id), count=3, ring=False)
    (first, first_action), (second, second_action), (other, _) = made
    odd = "\"]', ☃ %s :x"
    with transaction() as session:
        group = SecurityGroup(id=str(uuid.uuid4()), project_id=who.project_id, name="web")
        session.add(group)
        session.flush()
        session.add(ServerSecurityGroup(server_id=second, group_id=group.id))
        session.add_all(ServerTag(server_id=one, tag=odd) for one in (first, other))
    servers = [rows.server(first), rows.server(second)]
    with reading() as session:
        shown = server_listing.extras(session, servers)
        assert shown.running == {first: (first_action, 0), second: (second_action, 0)}
        assert shown.tags == {first: [odd]}
        assert shown.security_groups == {second: ["web"]}
        assert server_tags.by_server(session, []) == {}
        assert server_tags.by_server(session, [odd, "x" * 5000]) == {}
        assert server_security.names(session, {second}) == {second: ["web"]}
        many = [str(uuid.uuid4()) for _ in range(50_000)]
        assert server_tags.by_server(session, [*many, other]) == {other: [odd]}
