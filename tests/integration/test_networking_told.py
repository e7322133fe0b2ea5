"""A changed rule reaches the guest's host, whatever dies in between."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.domain.caller import Caller
from app.models import HostNetworking, SecurityRule
from app.store import database, security_groups
from tests.asking import add_image, adopt, caller, create
from tests.cloud import Cloud, eventually, running


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    with running(Cloud(tmp_path)) as made:
        adopt(made, monkeypatch)
        made.start_control()
        made.start_host("n1")
        made.hosts_up("n1")
        yield made


def let_in(who: Caller, group: str, port: int) -> None:
    """Accept one more rule, as web does."""
    with database.transaction() as session:
        rule = SecurityRule(
            group_id=group, direction="ingress", ethertype="IPv4", protocol="tcp",
            port_min=port, port_max=port,
        )  # fmt: skip
        security_groups.add_rule(session, who, rule)


def told(cloud: Cloud, group: str) -> set[Any]:
    """The ports that the host lets into the group, as it was last told."""
    [path] = cloud.directory.rglob("fake.json")
    states = json.loads(path.read_text()).get("networking", {}).values()
    return {rule["port_min"] for state in states for rule in state["groups"].get(group, ())}


def test_a_rule_is_told_to_its_host_though_worker_and_broker_die(cloud: Cloud) -> None:
    who = caller(cloud)
    with database.transaction() as session:
        group = security_groups.ensure_default(session, who.project_id)
    image = add_image(cloud, who.project_id)
    [(_, action)] = create(cloud, who, image, security_groups=((group, "default"),))
    assert cloud.finished(action).state == "succeeded"
    let_in(who, group, 81)
    eventually(lambda: 81 in told(cloud, group), 20, "the host was told")

    cloud.kill("host-n1")
    let_in(who, group, 82)
    cloud.redis().flushall()
    let_in(who, group, 83)
    cloud.start_host("n1")
    eventually(lambda: {81, 82, 83} <= told(cloud, group), 60, "the new worker was told all")

    def settled() -> bool:
        (row,) = cloud.scalars(select(HostNetworking))
        return bool(row.applied == row.wanted and row.fault == "")

    eventually(settled, 30, "nothing is owed any more")
