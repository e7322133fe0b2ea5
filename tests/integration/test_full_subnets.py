"""A subnet without a free address costs one scan a request, not one a server."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.models import Server, ServerNic, Subnet
from app.store import addresses
from app.store.database import transaction
from tests.integration.web_fixtures import Site

pytest_plugins = ["tests.integration.web_fixtures"]
SERVERS = 4


def test_it_is_scanned_once_for_all_servers_of_a_request(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [site.built() for _ in range(SERVERS)]
    scanned: list[int] = []
    whole = addresses._text

    def counted(ranges: list[tuple[int, int]], offset: int) -> str:
        scanned.append(offset)
        return whole(ranges, offset)

    monkeypatch.setattr(addresses, "_text", counted)
    with transaction() as session:
        subnet = session.scalars(select(Subnet)).one()
        subnet.pool_end = subnet.pool_start
        servers = [session.get_one(Server, one) for one in ids]
        failed = addresses.allocate(session, servers)
        assert {one.code for one in failed.values()} == {"no_address"}
        assert sorted(failed) == sorted(ids[1:])
    # The first server's look-ahead and address; the second's scan finds out; no third one.
    assert len(scanned) == 3


def test_what_a_server_gave_back_is_anothers(site: Site) -> None:
    first, second = site.built(), site.built()
    with transaction() as session:
        subnet = session.scalars(select(Subnet)).one()
        subnet.pool_end = subnet.pool_start
        session.add(ServerNic(server_id=first, position=1, network_id=subnet.network_id))
        session.flush()
        servers = [session.get_one(Server, one) for one in (first, second)]
        assert list(addresses.allocate(session, servers)) == [first]
