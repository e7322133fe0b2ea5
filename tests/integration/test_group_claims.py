"""The claim's last word on server groups and zones, when others claimed since schedule chose."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable

import pytest
from sqlalchemy import select, update

from app.domain.caller import Caller
from app.domain.request_spec import AFFINITY, ANTI_AFFINITY, SOFT_ANTI_AFFINITY
from app.models import Action, Allocation, Host, Server, ServerGroup
from app.store import aggregates, server_groups
from app.store.database import transaction
from app.tasks.control import claim, schedule
from tests.asking import add_image, caller, create
from tests.cloud import Cloud
from tests.integration.host_rows import add_host
from tests.integration.test_control_locks import either

__all__ = ["either"]
BOTH = pytest.mark.parametrize("either", ["sqlite", "postgresql"], indirect=True)
ONE = pytest.mark.parametrize("either", ["sqlite"], indirect=True)


class Grouped:
    """A cloud with three hosts and servers of one group, each of its own request."""

    def __init__(self, cloud: Cloud, policy: str, most: int | None = None) -> None:
        self.cloud, self.who = cloud, caller(cloud)
        self.image = add_image(cloud, self.who.project_id)
        for number, name in enumerate(("n1", "n2", "n3"), 1):
            add_host(name, number, vcpus=64, ram_mb=65536, disk_gb=1000)
        self.group = ServerGroup(
            project_id=self.who.project_id,
            user_id=self.who.user_id,
            name="g",
            policy=policy,
            max_server_per_host=most,
        )
        with transaction() as session:
            server_groups.add(session, self.group)

    def server(self, *selection: str, **more: object) -> Action:
        """The action of a new server, which stands at its claim when a selection is given."""
        asker = Caller(self.who.user_id, self.who.project_id, self.who.roles, f"req-{uuid.uuid4()}")
        more = {"group_id": self.group.id} | more
        [(_, action)] = create(self.cloud, asker, self.image, ring=False, **more)
        if selection:
            with transaction() as session:
                values = {"stage": "claim", "selection": list(selection)}
                session.execute(update(Action).where(Action.id == action).values(**values))
        return self.cloud.action(action)

    def host(self, action: Action) -> str | None:
        """Where the server is."""
        return self.cloud.server(action.server_id).host

    def stage(self, action: Action) -> str:
        """Where the action stands."""
        return self.cloud.action(action.id).stage


def placed(action: Action) -> None:
    """Schedule and claim until the server is to be built, or ends."""
    for _ in range(20):
        with transaction() as session:
            if schedule.schedule(session, action.request_id):
                return
        with transaction() as session:
            if claim.claim(session, action.request_id).built:
                return


def claimed(action: Action) -> None:
    """Claim once."""
    with transaction() as session:
        claim.claim(session, action.request_id)


def at_once(work: Callable[[Action], None], actions: list[Action]) -> None:
    """`work` on all of these, from as many threads."""
    gate = threading.Barrier(len(actions))
    errors: list[Exception] = []

    def run(action: Action) -> None:
        try:
            gate.wait(20)
            work(action)
        except Exception as error:  # noqa: BLE001  (each is told at the end)
            errors.append(error)

    threads = [threading.Thread(target=run, args=(one,)) for one in actions]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []


@BOTH
def test_two_claims_of_one_host_for_an_anti_affinity_group_end_on_two(either: Cloud) -> None:
    cloud = Grouped(either, ANTI_AFFINITY)
    for _ in range(3):
        pair = [cloud.server("n1", "n2") for _ in range(2)]
        at_once(claimed, pair)
        assert {cloud.host(one) for one in pair} == {"n1", "n2"}, "the second took its alternate"
        _gone(either, pair)


@BOTH
def test_servers_of_a_group_that_are_placed_at_once_keep_to_its_policy(either: Cloud) -> None:
    apart = Grouped(either, ANTI_AFFINITY)
    some = [apart.server() for _ in range(3)]
    at_once(placed, some)
    assert {apart.host(one) for one in some} == {"n1", "n2", "n3"}
    fourth = apart.server()
    placed(fourth)
    assert apart.host(fourth) is None
    fault = either.server(fourth.server_id).fault
    assert "3 are taken by the server group" in str(fault)


@BOTH
def test_a_claim_that_would_part_an_affinity_group_is_scheduled_again(either: Cloud) -> None:
    cloud = Grouped(either, AFFINITY)
    pair = [cloud.server("n1"), cloud.server("n2")]
    at_once(claimed, pair)
    (there,) = {cloud.host(one) for one in pair} - {None}
    (back,) = [one for one in pair if cloud.host(one) is None]
    assert cloud.stage(back) == "schedule"
    assert len(either.scalars(select(Allocation))) == 1, "nothing is held meanwhile"
    placed(back)
    assert cloud.host(back) == there


@ONE
def test_a_group_has_as_many_on_a_host_as_its_rule_says(either: Cloud) -> None:
    cloud = Grouped(either, ANTI_AFFINITY, most=2)
    some = [cloud.server("n1") for _ in range(3)]
    for one in some:
        claimed(one)
    assert [cloud.host(one) for one in some] == ["n1", "n1", None]


@ONE
def test_soft_policies_do_not_stop_a_claim(either: Cloud) -> None:
    cloud = Grouped(either, SOFT_ANTI_AFFINITY)
    some = [cloud.server("n1") for _ in range(2)]
    for one in some:
        claimed(one)
    assert [cloud.host(one) for one in some] == ["n1", "n1"]


@ONE
def test_a_server_that_an_administrator_forces_keeps_to_its_group(either: Cloud) -> None:
    cloud = Grouped(either, ANTI_AFFINITY)
    claimed(cloud.server("n1"))
    forced = cloud.server(forced_host="n1")
    placed(forced)
    assert either.action(forced.id).state == "failed"
    assert "1 is taken by the server group" in str(either.server(forced.server_id).fault)


@ONE
def test_a_group_that_is_deleted_meanwhile_binds_nobody(either: Cloud) -> None:
    cloud = Grouped(either, ANTI_AFFINITY)
    claimed(cloud.server("n1"))
    second = cloud.server("n1")
    with transaction() as session:
        server_groups.remove(session, cloud.who, cloud.group.id)
    claimed(second)
    assert cloud.host(second) == "n1"


@ONE
def test_a_host_that_left_the_zone_is_not_claimed(either: Cloud) -> None:
    cloud = Grouped(either, SOFT_ANTI_AFFINITY)
    with transaction() as session:
        east = aggregates.add(session, "east", "east").id
        for name in ("n1", "n2"):
            aggregates.add_host(session, east, name)
    action = cloud.server("n1", "n2", availability_zone="east")
    with transaction() as session:
        aggregates.remove_host(session, east, "n1")
    claimed(action)
    assert cloud.host(action) == "n2"


@ONE
def test_a_claim_keeps_to_the_ratio_that_an_aggregate_sets(either: Cloud) -> None:
    cloud = Grouped(either, SOFT_ANTI_AFFINITY)
    with transaction() as session:
        one = aggregates.add(session, "narrow", None).id
        aggregates.change(session, one, None, {"cpu_allocation_ratio": "0.03125"})
        aggregates.add_host(session, one, "n1")  # 64 vCPUs: two may be claimed
    some = [cloud.server("n1") for _ in range(3)]
    for action in some:
        claimed(action)
    assert [cloud.host(action) for action in some] == ["n1", "n1", None]
    placed(some[2])
    assert cloud.host(some[2]) in ("n2", "n3")
    with transaction() as session:
        aggregates.change(session, one, None, {"cpu_allocation_ratio": "0"})
    late = cloud.server("n1")
    claimed(late)
    assert cloud.host(late) is None
    (used,) = either.scalars(select(Host.used_vcpus).where(Host.name == "n1"))
    assert used == 2, "those that are there stay"


def _gone(cloud: Cloud, actions: list[Action]) -> None:
    with transaction() as session:
        for one in actions:
            server = session.get_one(Server, one.server_id)
            server.deleted_at, server.host = 1.0, None
