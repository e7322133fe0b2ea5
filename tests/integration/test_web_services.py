"""Services over HTTP: as their versions have them, and what it means to declare one down."""

from __future__ import annotations

import json
import uuid
from typing import Any

from sqlalchemy import select

from app.config import load
from app.models import Allocation, Cleanup, Host, Server
from app.store.database import reading, transaction
from app.tasks import board
from app.tasks.board import ControlBeat
from app.web.factory import create_app
from tests.asking import add_image, caller, create, request
from tests.cloud import Cloud, eventually
from tests.integration.host_rows import HYPERVISORS, SERVICES, V, add_host, admin, update
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]


def test_services_are_listed_as_their_version_has_them(site: Site) -> None:
    first, second = add_host("n1", 1), add_host("n2", 2, state="down", zone="east", enabled=False)
    one, two = admin(site, SERVICES)["services"]
    names = {"id", "binary", "host", "zone", "status", "state", "updated_at", "disabled_reason"}
    assert set(one) == names
    assert (one["id"], one["host"], one["state"], one["status"]) == (1, "n1", "up", "enabled")
    assert (two["id"], two["zone"], two["state"], two["status"]) == (2, "east", "down", "disabled")
    assert set(admin(site, SERVICES, "2.11")["services"][0]) == names | {"forced_down"}
    assert [one["id"] for one in admin(site, SERVICES, "2.53")["services"]] == [first, second]
    assert len(admin(site, f"{SERVICES}?host=n2")["services"]) == 1
    assert len(admin(site, f"{SERVICES}?binary=nova-compute")["services"]) == 2
    assert admin(site, f"{SERVICES}?binary=nova-scheduler")["services"] == []
    assert site.get(f"{SERVICES}?x=1", "admin", version="2.75").status_code == 400


def test_before_2_53_the_path_says_what_to_do(site: Site) -> None:
    add_host("n1", 1)
    body: dict[str, Any] = {"host": "n1", "binary": "nova-compute"}
    off = update(site, "disable", "2.1", **body)
    assert off.json == {"service": {**body, "status": "disabled"}}
    why = update(site, "disable-log-reason", "2.1", **body, disabled_reason="disk")
    assert why.json["service"] == {**body, "status": "disabled", "disabled_reason": "disk"}
    assert admin(site, SERVICES)["services"][0]["disabled_reason"] == "disk"
    on = update(site, "enable", "2.1", **body)
    assert on.json == {"service": {**body, "status": "enabled"}}
    assert admin(site, SERVICES)["services"][0]["disabled_reason"] is None
    down = update(site, "force-down", "2.11", **body, forced_down=True)
    assert down.json == {"service": {**body, "forced_down": True}}
    assert admin(site, SERVICES)["services"][0]["state"] == "down"
    for action, version, more, status in (
        ("force-down", "2.10", {"forced_down": True}, 404),
        ("force-down", "2.11", {}, 400),
        ("disable-log-reason", "2.1", {}, 400),
        ("disable", "2.1", {"colour": "red"}, 400),
        ("enable", "2.1", {"host": "n9"}, 404),
        ("enable", "2.1", {"binary": "nova-api"}, 404),
        ("drain", "2.1", {}, 404),
    ):
        answer = update(site, action, version, **(body | more))
        assert answer.status_code == status, (action, answer.text)


def test_from_2_53_a_service_is_changed_by_its_id(site: Site) -> None:
    id_ = add_host("n1", 1)
    off = update(site, id_, status="disabled", disabled_reason="disk").json["service"]
    assert (off["id"], off["status"], off["disabled_reason"]) == (id_, "disabled", "disk")
    down = update(site, id_, forced_down="true").json["service"]
    assert (down["status"], down["forced_down"], down["state"]) == ("disabled", True, "down")
    on = update(site, id_, status="enabled", forced_down=False).json["service"]
    assert (on["status"], on["disabled_reason"], on["state"]) == ("enabled", None, "up")
    bad = ({}, {"status": "off"}, {"disabled_reason": "x"}, {"forced_down": 2}, {"host": "n1"},
           {"status": "enabled", "disabled_reason": "x"}, {"status": "disabled",
            "disabled_reason": "x" * 256})  # fmt: skip
    for body in bad:
        assert update(site, id_, **body).status_code == 400, body
    assert update(site, "1", status="enabled").status_code == 400
    assert update(site, str(uuid.uuid4()), status="enabled").status_code == 404


def test_a_disabled_or_forced_down_host_is_no_place_for_servers(site: Site) -> None:
    id_ = add_host("n1", 1, zone="east")
    zone = lambda: admin(site, f"{V}/os-availability-zone")["availabilityZoneInfo"][0]  # noqa: E731
    assert zone() == {"zoneName": "east", "zoneState": {"available": True}, "hosts": None}
    update(site, id_, forced_down=True)
    assert zone()["zoneState"] == {"available": False}


def test_a_service_is_forgotten_when_its_host_is_down_and_holds_nothing(site: Site) -> None:
    id_ = add_host("n1", 1)
    path = f"{SERVICES}/{id_}"

    def refused() -> str:
        answer = site.delete(path, "admin", version="2.53")
        assert answer.status_code == 409, answer.text
        return str(answer.json["conflictingRequest"]["message"])

    assert "up" in refused()
    with transaction() as session:
        session.get_one(Host, "n1").state = "down"
    server = site.built()
    assert "hosting" in refused()
    site.set_server(server, host=None)
    with transaction() as session:
        session.add(Allocation(server_id=server, host="n1", vcpus=1, ram_mb=1, disk_gb=1))
    assert "hosting" in refused()
    with transaction() as session:
        session.delete(session.get_one(Allocation, (server, "n1")))
        session.add(Cleanup(server_id=server, host="n1", fence=1, next_ring_at=0.0))
    assert "remove" in refused()
    # Unless an operator says that it never comes back: then what it owes is written off.
    with transaction() as session:
        session.add(Allocation(server_id=server, host="n1", vcpus=1, ram_mb=1, disk_gb=1))
        host = session.get_one(Host, "n1")
        host.used_vcpus = host.used_ram_mb = host.used_disk_gb = 1
    update(site, id_, forced_down=True)
    gone = site.delete(path, "admin", version="2.53")
    assert (gone.status_code, gone.data) == (204, b"")
    with reading() as session:
        assert session.scalars(select(Cleanup.id)).all() == []
        assert session.scalars(select(Allocation.host)).all() == []
    assert admin(site, SERVICES)["services"] == []
    assert site.delete(path, "admin", version="2.53").status_code == 404
    assert site.delete(f"{SERVICES}/1", "admin").status_code == 404
    assert site.delete(f"{SERVICES}/x", "admin").status_code == 400


# With Redis, and with workers


def on_site(cloud: Cloud) -> Site:
    """The cloud's web application, in this process."""
    return Site(create_app(load()), cloud.directory)


def test_scheduler_workers_that_live_are_services(cloud: Cloud) -> None:
    site = on_site(cloud)
    board.post_control(ControlBeat("scheduler@ctl", ("conductor", "scheduler"), 1.7e9))
    board.post_control(ControlBeat("conductor@ctl2", ("conductor",), 1.7e9))
    found = admin(site, SERVICES, "2.53")["services"]
    assert [(one["binary"], one["host"], one["zone"]) for one in found] == [
        ("nova-conductor", "ctl2", "internal"),
        ("nova-conductor", "ctl", "internal"),
        ("nova-scheduler", "ctl", "internal"),
    ]
    assert len({one["id"] for one in found}) == 3
    assert admin(site, SERVICES, "2.53")["services"] == found
    numbers = [one["id"] for one in admin(site, SERVICES)["services"]]
    assert all(isinstance(number, int) for number in numbers)
    assert update(site, found[0]["id"], status="disabled").status_code == 400
    body = {"host": "ctl", "binary": "nova-scheduler"}
    assert update(site, "disable", "2.1", **body).status_code == 400
    zones = admin(site, f"{V}/os-availability-zone/detail")["availabilityZoneInfo"]
    assert set(zones[0]["hosts"]["ctl"]) == {"nova-scheduler", "nova-conductor"}
    cloud.redis().delete("control:scheduler@ctl")
    assert len(admin(site, SERVICES)["services"]) == 1
    cloud.kill("redis")
    assert admin(site, SERVICES)["services"] == []


def test_a_host_that_is_forced_down_counts_as_down_until_it_is_taken_back(cloud: Cloud) -> None:
    cloud.settings |= {"inventory_seconds": "1", "down_after": "6"}
    cloud.start_control()
    cloud.start_host("n1")
    cloud.hosts_up("n1")
    site = on_site(cloud)
    found = eventually(
        lambda: (
            {one["binary"]: one for one in admin(site, SERVICES, "2.53")["services"]}
            if len(admin(site, SERVICES)["services"]) == 3
            else None
        )
    )
    host = found["nova-compute"]["id"]
    assert admin(site, f"{HYPERVISORS}/{host}", "2.88")["hypervisor"]["uptime"]
    who, state = caller(cloud), select(Host.state)
    image = add_image(cloud, who.project_id)
    [(old, action)] = create(cloud, who, image)
    assert cloud.finished(action).state == "succeeded"
    assert update(site, host, forced_down=True).status_code == 200
    # Its heart beats on, and it is down all the same: nothing is placed there, a delete ends.
    eventually(lambda: cloud.scalars(state) == ["down"], what="down")
    [(new, action)] = create(cloud, who, image)
    assert cloud.finished(action).state == "failed"
    assert "0 of 1 hosts" in json.dumps(cloud.server(new).fault)
    assert cloud.finished(request(who, old, "delete")).state == "succeeded"
    assert cloud.scalars(select(Cleanup.server_id)) == [old]
    assert cloud.scalars(state) == ["down"]
    assert update(site, host, forced_down=False).status_code == 200
    cloud.hosts_up("n1")
    eventually(lambda: cloud.scalars(select(Cleanup.id)) == [], what="cleaned up")
    [(server, action)] = create(cloud, who, image)
    assert cloud.finished(action).state == "succeeded"
    assert cloud.scalars(select(Server.vm_state).where(Server.id == server)) == ["active"]
