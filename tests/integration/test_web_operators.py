"""What operators and other services ask of Compute: hosts, migrations, audits, events."""

from __future__ import annotations

import uuid

import pytest
from sqlalchemy import select

from app.models import Action
from app.store.database import reading
from tests.integration.host_rows import add_host
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
V = "/compute/v2.1"


@pytest.fixture
def host(site: Site) -> str:
    """The name of a host that is up."""
    add_host("n1", 1)
    return "n1"


def test_hosts_are_listed_by_service_and_zone_until_2_42(site: Site, host: str) -> None:
    listed = site.get(f"{V}/os-hosts", "admin").json["hosts"]
    assert {"host_name": host, "service": "compute", "zone": "nova"} in listed
    assert site.get(f"{V}/os-hosts?zone=nova", "admin").json["hosts"] == listed
    assert site.get(f"{V}/os-hosts?zone=", "admin").json["hosts"] == listed
    assert site.get(f"{V}/os-hosts?zone=xxx", "admin").json["hosts"] == []
    assert site.get(f"{V}/os-hosts", "admin", version="2.43").status_code == 404
    assert site.get(f"{V}/os-hosts").status_code == 403


def test_a_host_shows_what_it_has_and_which_projects_use_it(site: Site, host: str) -> None:
    shown = [one["resource"] for one in site.get(f"{V}/os-hosts/{host}", "admin").json["host"]]
    assert [one["project"] for one in shown] == ["(total)", "(used_now)", "(used_max)"]
    assert all(set(one) == {"host", "project", "cpu", "memory_mb", "disk_gb"} for one in shown)
    assert shown[2]["cpu"] == 0
    assert site.get(f"{V}/os-hosts/made-up", "admin").status_code == 404


def test_a_host_is_enabled_and_disabled_and_its_power_is_not_ours(site: Site, host: str) -> None:
    path = f"{V}/os-hosts/{host}"
    for word, status in (("disable", "disabled"), ("enable", "enabled")):
        answer = site.call("PUT", path, "admin", json={"status": word})
        assert answer.json == {"host": host, "status": status}
    for bad in ({}, {"status": "odd"}, {"maintenance_mode": "odd"}, {"colour": "red"}):
        assert site.call("PUT", path, "admin", json=bad).status_code == 400
    maintenance = site.call("PUT", path, "admin", json={"maintenance_mode": "enable"})
    assert maintenance.status_code == 501
    for verb in ("startup", "shutdown", "reboot"):
        assert site.get(f"{path}/{verb}", "admin").status_code == 501
        assert site.get(f"{V}/os-hosts/made-up/{verb}", "admin").status_code == 404
        assert site.get(f"{path}/{verb}").status_code == 403


def test_migrations_are_an_empty_list_whose_parameters_are_checked(site: Site) -> None:
    assert site.get(f"{V}/os-migrations", "admin").json == {"migrations": []}
    assert site.get(f"{V}/os-migrations").status_code == 403
    assert site.get(f"{V}/os-migrations?colour=red", "admin").status_code == 200
    for query in ("colour=red", "marker=x", "limit=x", "changes-since=soon", "migration_type=odd"):
        answer = site.get(f"{V}/os-migrations?{query}", "admin", version="2.59")
        assert answer.status_code == 400, query
    server_id = site.built()
    path = f"{V}/servers/{server_id}/migrations"
    assert site.get(path, "admin", version="2.23").json == {"migrations": []}
    assert site.get(path, "admin", version="2.22").status_code == 404
    assert site.get(f"{path}/1", "admin", version="2.23").status_code == 404
    assert site.delete(f"{path}/1", "admin", version="2.24").status_code == 404


def test_the_usage_audit_has_run_nowhere(site: Site, host: str) -> None:
    path = f"{V}/os-instance_usage_audit_log"
    log = site.get(path, "admin").json["instance_usage_audit_logs"]
    assert (log["num_hosts"], log["hosts_not_run"], log["log"]) == (1, [host], {})
    before = site.get(f"{path}/2026-01-15%2003:04:05", "admin").json["instance_usage_audit_log"]
    assert before["period_beginning"] == "2025-12-01 00:00:00"
    assert before["period_ending"] == "2026-01-01 00:00:00"
    for bad in ("invalid_time", "0001-01-01%2000:00:00"):
        assert site.get(f"{path}/{bad}", "admin").status_code == 400
    assert site.get(path).status_code == 403


def test_events_of_other_services_are_judged_one_by_one(site: Site) -> None:
    built, waiting = site.built(), str(site.add_server().json["server"]["id"])
    path, unknown = f"{V}/os-server-external-events", str(uuid.uuid4())

    def post(*ids: str, name: str = "network-changed", version: str = "2.1"):
        events = [{"name": name, "server_uuid": one} for one in ids]
        return site.post(path, "admin", json={"events": events}, version=version)

    assert post(built).status_code == 200
    assert post(built).json["events"] == [
        {"name": "network-changed", "server_uuid": built, "status": "completed", "code": 200}
    ]
    mixed = post(built, waiting, unknown)
    assert mixed.status_code == 207
    assert [one["code"] for one in mixed.json["events"]] == [200, 422, 404]
    assert post(waiting, unknown).status_code == 404
    assert post(built, name="power-update", version="2.75").status_code == 400
    assert site.post(path, json={"events": []}).status_code == 403


def test_a_power_update_lets_the_host_report(site: Site) -> None:
    server_id = site.built()
    body = {"events": [{"name": "power-update", "server_uuid": server_id, "tag": "POWER_OFF"}]}
    path = f"{V}/os-server-external-events"
    answer = site.post(path, "admin", json=body, version="2.76")
    with reading() as session:
        action = session.scalars(select(Action).where(Action.kind == "sync")).one()
    assert (action.server_id, answer.headers["X-Task-Id"]) == (server_id, action.id)
    assert site.post(path, "admin", json=body, version="2.76").status_code == 200  # it is busy


def test_servers_have_no_volumes_and_no_numa_nodes(site: Site) -> None:
    server_id = site.built()
    path, volume = f"{V}/servers/{server_id}/os-volume_attachments", str(uuid.uuid4())
    assert site.get(path).json == {"volumeAttachments": []}
    body = {"volumeAttachment": {"volumeId": volume}}
    assert site.post(path, json=body).status_code == 404
    assert site.post(path, json={"volumeAttachment": {}}).status_code == 400
    assert site.get(f"{path}/{volume}").status_code == 404
    assert site.call("PUT", f"{path}/{volume}", json=body).status_code == 404
    assert site.delete(f"{path}/{volume}").status_code == 404
    assert site.get(path, "other").status_code == 404
    topology = f"{V}/servers/{server_id}/topology"
    assert site.get(topology, version="2.78").json == {"nodes": [], "pagesize_kb": None}
    assert site.get(topology, version="2.77").status_code == 404


def test_a_path_that_ends_in_a_slash_names_nothing(site: Site) -> None:
    for path in ("os-simple-tenant-usage/", "images/", "servers/", "os-security-groups/"):
        for method in ("GET", "DELETE"):
            assert site.call(method, f"{V}/{path}", "admin").status_code == 404, (method, path)
    assert site.get(f"{V}/", None).status_code == 200
