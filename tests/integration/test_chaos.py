"""What the chaos harness calls leaked, over-committed and taken away, on real rows."""

from __future__ import annotations

from sqlalchemy import insert, update
from sqlalchemy.orm import Session

from app.models import Allocation, Cleanup, Host, QuotaUsage, Server
from tests.asking import add_image, caller, create
from tests.chaos import rows
from tests.cloud import Cloud


def test_rows_that_no_living_server_stands_for_are_found(cloud: Cloud) -> None:
    who = caller(cloud)
    image_id = add_image(cloud, who.project_id)
    (first, _), (second, _) = create(cloud, who, image_id, count=2, ring=False)
    _add_host(cloud, "n1", used=1)
    _write(cloud, insert(Allocation), server_id=first, host="n1", vcpus=1, ram_mb=192, disk_gb=1)
    _write(cloud, update(Server).where(Server.id == first), host="n1")
    with rows.snapshot(cloud.engine) as session:
        assert rows.held(session) == []
        assert rows.overcommitted(session) == {}
        assert len(rows.unfinished(session)) == 2

    _write(cloud, update(Server).where(Server.id == first), host=None)
    _write(cloud, update(QuotaUsage).where(QuotaUsage.resource == "cores"), in_use=3)
    _write(cloud, update(Host), used_vcpus=2)
    _write(cloud, insert(Cleanup), id="c", server_id=second, host="n1", fence=1, next_ring_at=0)
    with rows.snapshot(cloud.engine) as session:
        leaked = rows.held(session)
        assert [line.split(" ")[0] for line in leaked] == ["allocation", "quota"]
        assert "used [2, 192, 1], allocations [1, 192, 1]" in rows.overcommitted(session)["n1"]
        placed = rows.placed(session)
    assert placed.owed == {(second, "n1"): 1}
    assert placed.sessions == {"n1": "s"}
    assert placed.is_free(first, "n1")
    assert not placed.is_free(second, "n1")
    assert placed.crowded == ()


def test_use_above_the_limit_is_overcommitted(cloud: Cloud) -> None:
    _add_host(cloud, "n1", used=0)
    _write(cloud, update(Host), vcpus=-1)
    with rows.snapshot(cloud.engine) as session:
        assert "limits [-1.0" in rows.overcommitted(session)["n1"]


def _add_host(cloud: Cloud, name: str, used: int) -> None:
    room = {"vcpus": 4, "ram_mb": 4096, "disk_gb": 40}
    ratios = {"cpu_ratio": 1.0, "ram_ratio": 1.0, "disk_ratio": 1.0}
    use = {"used_vcpus": used, "used_ram_mb": 192 * used, "used_disk_gb": used}
    who = {"name": name, "uuid": name, "number": 1, "session": "s", "state": "up"}
    _write(cloud, insert(Host), **who, **room, **ratios, **use)


def _write(cloud: Cloud, statement: object, **values: object) -> None:
    with Session(cloud.engine) as session, session.begin():
        session.execute(statement.values(**values))  # type: ignore[attr-defined]
