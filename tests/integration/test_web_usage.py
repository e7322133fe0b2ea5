"""What projects used in a period, over HTTP, computed from rows."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import select

from app.models import Project, Server, User, new_id
from app.store.database import reading, transaction
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
V = "/compute/v2.1/os-simple-tenant-usage"
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
DAY = "start=2026-03-01T12:00:00&end=2026-03-02T12:00:00"
TOTALS = {
    "tenant_id",
    "total_hours",
    "total_memory_mb_usage",
    "total_vcpus_usage",
    "total_local_gb_usage",
    "start",
    "stop",
}


def project(name: str = "novella") -> str:
    """A project's id."""
    with reading() as session:
        return session.scalars(select(Project.id).where(Project.name == name)).one()


def add(
    launched: float | None, ended: float | None = None, of: str = "novella", **more: Any
) -> str:
    """A server's row that ran from `launched` to `ended`, in hours after noon; its id."""
    with transaction() as session:
        server = Server(
            **{
                "id": new_id(),
                "project_id": session.scalars(select(Project.id).where(Project.name == of)).one(),
                "user_id": session.scalars(select(User.id).where(User.name == of)).one(),
                "name": "vm",
                "hostname": "vm",
                "reservation_id": "r-1",
                "vm_state": "active" if ended is None else "deleted",
                "flavor_id": "1",
                "flavor_name": "m1.tiny",
                "vcpus": 2,
                "ram_mb": 512,
                "disk_gb": 10,
                "ephemeral_gb": 5,
                "launched_at": None if launched is None else NOON + launched * HOUR,
                "terminated_at": None if ended is None else NOON + ended * HOUR,
                "deleted_at": None if ended is None else NOON + ended * HOUR,
                **more,
            }
        )
        session.add(server)
        session.flush()
        return server.id


def listed(site: Site, query: str = DAY, **more: Any) -> Any:
    """The list's answer, for the administrator."""
    answer = site.get(f"{V}?{query}", "admin", **more)
    assert answer.status_code == 200, answer.text
    return answer.json


def test_a_project_is_charged_for_what_lies_inside_the_period(site: Site) -> None:
    add(-5, -1)  # over before it began
    add(-5, 1.5)  # 1.5 hours inside
    add(2, 4.25)  # 2.25 hours
    add(23)  # runs on: 1 hour
    add(30)  # began after it
    add(None)  # never ran
    [usage] = listed(site)["tenant_usages"]
    assert set(usage) == TOTALS
    assert usage["tenant_id"] == project()
    assert usage["total_hours"] == pytest.approx(4.75, abs=1e-6)
    assert usage["total_vcpus_usage"] == pytest.approx(9.5, abs=1e-6)
    assert usage["total_memory_mb_usage"] == pytest.approx(4.75 * 512, abs=1e-4)
    assert usage["total_local_gb_usage"] == pytest.approx(4.75 * 15, abs=1e-5)
    assert (usage["start"], usage["stop"]) == (
        "2026-03-01T12:00:00.000000",
        "2026-03-02T12:00:00.000000",
    )


def test_projects_apart_and_servers_in_detail_add_up_the_same(site: Site) -> None:
    add(0, 1)
    add(0, 2, "other")
    add(1, 3, "other", ram_mb=1024)
    plain = listed(site)["tenant_usages"]
    detailed = listed(site, f"{DAY}&detailed=1")["tenant_usages"]
    assert {one["tenant_id"] for one in plain} == {project(), project("other")}
    for one, same in zip(plain, detailed, strict=True):
        servers = same.pop("server_usages")
        assert same == {k: pytest.approx(v) if k.startswith("total") else v for k, v in one.items()}
        assert sum(server["hours"] for server in servers) == pytest.approx(one["total_hours"])
    assert "server_usages" in listed(site, f"{DAY}&detailed=True")["tenant_usages"][0]


def test_a_project_sees_its_own_servers_and_no_other_s(site: Site) -> None:
    mine = add(0, 1)
    running = add(20)
    theirs = add(0, 2, "other")
    usage = site.get(f"{V}/{project()}?{DAY}").json["tenant_usage"]
    ended, runs = sorted(usage["server_usages"], key=lambda one: one["started_at"])
    assert (ended["instance_id"], runs["instance_id"]) == (mine, running)
    assert (ended["state"], runs["state"]) == ("terminated", "active")
    assert (ended["ended_at"], runs["ended_at"]) == ("2026-03-01T13:00:00.000000", None)
    assert (ended["uptime"], ended["hours"]) == (3600, pytest.approx(1.0, abs=1e-6))
    assert (ended["flavor"], ended["local_gb"]) == ("m1.tiny", 15)
    assert theirs not in str(usage)
    assert site.get(f"{V}/{project('other')}?{DAY}").status_code == 403
    assert site.get(f"{V}/nosuchproject?{DAY}").status_code == 403
    assert site.get(f"{V}?{DAY}").status_code == 403
    assert site.get(f"{V}/{project('admin')}?{DAY}", "admin").json == {"tenant_usage": {}}


def test_servers_are_paged_from_2_40(site: Site) -> None:
    for number in range(5):
        add(0, number + 1)
    add(0, 9, "other")
    assert "tenant_usages_links" not in listed(site, f"{DAY}&limit=2", version="2.39")
    total, hops, page = 0.0, 0, listed(site, f"{DAY}&limit=2", version="2.40")
    while True:
        total += sum(one["total_hours"] for one in page["tenant_usages"])
        if "tenant_usages_links" not in page:
            break
        hops += 1
        page = site.get(page["tenant_usages_links"][0]["href"], "admin", version="2.40").json
    assert (hops, total) == (3, pytest.approx(24.0, abs=1e-5))
    one = site.get(f"{V}/{project()}?{DAY}&limit=5", version="2.40").json
    assert len(one["tenant_usage"]["server_usages"]) == 5
    rest = site.get(one["tenant_usage_links"][0]["href"], version="2.40").json
    assert rest == {"tenant_usage": {}}
    detail = listed(site, f"{DAY}&limit=4&detailed=1", version="2.40")
    assert sum(len(one["server_usages"]) for one in detail["tenant_usages"]) == 4
    assert site.get(f"{V}?{DAY}&marker=zz", "admin", version="2.40").status_code == 400


def test_the_future_counts_for_nothing(site: Site) -> None:
    server = add(None)
    site.set_server(server, launched_at=datetime.now(UTC).timestamp() - HOUR)
    [usage] = listed(site, "start=2026-01-01T00:00:00&end=2999-01-01T00:00:00")["tenant_usages"]
    assert usage["total_hours"] == pytest.approx(1.0, abs=0.05)
    assert not usage["stop"].startswith("2999")
    ahead = listed(site, "start=2998-01-01T00:00:00&end=2999-01-01T00:00:00")["tenant_usages"]
    assert sum(one["total_hours"] for one in ahead) == 0


def test_times_come_in_nova_s_forms_and_no_others(site: Site) -> None:
    for good in ("2026-03-01T12:00:00", "2026-03-01T12:00:00.5", "2026-03-01 12:00:00.500000"):
        assert site.get(f"{V}?start={good}", "admin").status_code == 200
    for bad in (
        "yesterday",
        "2026-03-01",
        "2026-13-01T00:00:00",
        "9" * 300,
        "2026-03-01T12:00:00Z",
    ):
        answer = site.get(f"{V}?start={bad}", "admin")
        assert answer.status_code == 400
        assert "start" in answer.json["badRequest"]["message"]
    backwards = "start=2026-03-02T12:00:00&end=2026-03-01T12:00:00"
    assert site.get(f"{V}?{backwards}", "admin").status_code == 400
    assert site.get(f"{V}?colour=red", "admin", version="2.75").status_code == 400
