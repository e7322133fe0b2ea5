"""Requests that are chosen for before any of them is claimed: they spread, and none is refused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.exceptions import Ignore

from app.celery import make_app
from app.store.database import transaction
from app.tasks.control import claim, tasks
from tests.asking import add_image, adopt, caller, create
from tests.cloud import Cloud, running
from tests.integration.host_rows import add_host

NAMES = ("n1", "n2", "n3")


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cloud]:
    """Three hosts with room for two servers each; nobody reads the queues."""
    with running(Cloud(tmp_path)) as made:
        adopt(made, monkeypatch)
        make_app().set_current()
        for number, name in enumerate(NAMES, 1):
            add_host(name, number, vcpus=2, cpu_ratio=1.0)
        yield made


def scheduled(cloud: Cloud, count: int = 1, **more: object) -> list[str]:
    """A new request's actions, after the task that chooses for it ran here."""
    who = caller(cloud)
    made = create(cloud, who, add_image(cloud, who.project_id), count=count, ring=False, **more)
    ids = [action_id for _, action_id in made]
    schedule(cloud, ids[0])
    return ids


def schedule(cloud: Cloud, action_id: str) -> None:
    try:
        tasks.schedule.run(cloud.action(action_id).request_id)
    except Ignore:
        return  # none of the request waits for its claim


def claimed(cloud: Cloud, action_id: str) -> str | None:
    with transaction() as session:
        claim.claim(session, cloud.action(action_id).request_id)
    return cloud.action(action_id).host


def test_single_requests_choose_what_others_have_not_chosen(cloud: Cloud) -> None:
    ids = [scheduled(cloud)[0] for _ in range(6)]
    first = Counter(cloud.action(one).selection[0] for one in ids)
    assert first == Counter({"n1": 2, "n2": 2, "n3": 2})
    hosts = {one: claimed(cloud, one) for one in ids}
    assert Counter(hosts.values()) == first, "no race is lost"


def test_who_fits_only_if_others_do_not_get_theirs_is_not_refused_before_they_do(
    cloud: Cloud,
) -> None:
    ids = [scheduled(cloud)[0] for _ in range(6)]
    [late] = scheduled(cloud)
    assert cloud.action(late).stage == "claim"
    for one in ids:
        claimed(cloud, one)
    assert claimed(cloud, late) is None
    assert cloud.action(late).stage == "schedule", "to choose again"
    schedule(cloud, late)
    fault = cloud.action(late).fault
    assert fault["code"] == "no_valid_host"
    assert "0 of 3 hosts fit: 3 are short of vCPUs" in fault["message"]


def test_what_must_fit_as_a_whole_is_judged_by_what_is_claimed(cloud: Cloud) -> None:
    for _ in range(4):
        scheduled(cloud)
    ids = scheduled(cloud, count=3, min_count=3)
    assert {cloud.action(one).stage for one in ids} == {"claim"}


def test_what_cannot_fit_as_a_whole_is_refused_though_others_have_only_chosen(cloud: Cloud) -> None:
    scheduled(cloud)
    ids = scheduled(cloud, count=7, min_count=7)
    assert {cloud.action(one).stage for one in ids} == {"schedule"}
    assert {cloud.action(one).fault["code"] for one in ids} == {"no_valid_host"}


def test_a_part_that_fits_is_filled_up_by_what_is_only_chosen(cloud: Cloud) -> None:
    for _ in range(4):
        scheduled(cloud)
    ids = scheduled(cloud, count=3, min_count=2, max_count=3)
    assert {cloud.action(one).stage for one in ids} == {"claim"}
