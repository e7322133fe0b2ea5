"""Hypervisors and old extension names over HTTP, as their versions have them."""

from __future__ import annotations

import json
import uuid

from sqlalchemy import select

from app.models import Action
from app.store.database import transaction
from tests.integration.host_rows import HYPERVISORS, SERVICES, V, add_host, admin
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
SHORT = {"id", "hypervisor_hostname", "state", "status"}
LASTING = SHORT | {"hypervisor_type", "hypervisor_version", "host_ip", "service"}
CAPACITY = {
    "vcpus",
    "memory_mb",
    "local_gb",
    "vcpus_used",
    "memory_mb_used",
    "local_gb_used",
    "free_ram_mb",
    "free_disk_gb",
    "current_workload",
    "running_vms",
    "disk_available_least",
}


def test_a_hypervisor_is_as_its_version_has_it(site: Site) -> None:
    id_ = add_host("n1", 1, used_vcpus=3, used_ram_mb=1024, used_disk_gb=20)
    first = admin(site, f"{HYPERVISORS}/detail")["hypervisors"][0]
    assert set(first) == LASTING | CAPACITY | {"cpu_info"}
    assert json.loads(first["cpu_info"]) == {"model": "EPYC"}
    assert (first["id"], first["service"]["id"], first["service"]["host"]) == (1, 1, "n1")
    assert (first["memory_mb"], first["memory_mb_used"], first["free_ram_mb"]) == (8192, 1536, 6656)
    assert (first["local_gb_used"], first["free_disk_gb"], first["vcpus_used"]) == (20, 80, 3)
    object_ = admin(site, f"{HYPERVISORS}/1", "2.28")["hypervisor"]
    assert object_["cpu_info"] == {"model": "EPYC"}
    by_uuid = admin(site, f"{HYPERVISORS}/{id_}", "2.53")["hypervisor"]
    assert (by_uuid["id"], by_uuid["service"]["id"]) == (id_, id_)
    late = admin(site, f"{HYPERVISORS}/{id_}", "2.88")["hypervisor"]
    assert set(late) == LASTING | {"uptime"}
    assert " up " in late["uptime"]
    assert set(admin(site, HYPERVISORS)["hypervisors"][0]) == SHORT


def test_servers_and_work_on_a_hypervisor_are_counted(site: Site) -> None:
    add_host("n1", 1)
    site.built()
    busy = site.built()
    gone = site.built()
    site.set_server(gone, deleted_at=2.0)
    with transaction() as session:
        action = session.scalars(select(Action).where(Action.server_id == busy)).one()
        action.host, action.finished_at = "n1", None
    shown = admin(site, f"{HYPERVISORS}/1")["hypervisor"]
    assert (shown["running_vms"], shown["current_workload"]) == (2, 1)


def test_statistics_sum_up_the_enabled_hypervisors(site: Site) -> None:
    add_host("n1", 1, used_ram_mb=100)
    add_host("n2", 2)
    add_host("n3", 3, enabled=False)
    stats = admin(site, f"{HYPERVISORS}/statistics")["hypervisor_statistics"]
    assert set(stats) == CAPACITY | {"count"}
    assert (stats["count"], stats["vcpus"], stats["memory_mb_used"]) == (2, 16, 1124)
    assert site.get(f"{HYPERVISORS}/statistics", "admin", version="2.88").status_code in (400, 404)


def test_hypervisors_are_paged_from_2_33_by_the_id_of_the_version(site: Site) -> None:
    uuids = [add_host(f"n{number}", number) for number in (1, 2, 3)]
    assert len(admin(site, f"{HYPERVISORS}?limit=2")["hypervisors"]) == 3
    for version, ids in (("2.33", [1, 2, 3]), ("2.53", uuids)):
        page = admin(site, f"{HYPERVISORS}?limit=2", version)
        assert [one["id"] for one in page["hypervisors"]] == ids[:2]
        rest = admin(site, page["hypervisors_links"][0]["href"], version)
        assert [one["id"] for one in rest["hypervisors"]] == ids[2:]
        assert "hypervisors_links" not in rest
        assert site.get(f"{HYPERVISORS}?marker=zz", "admin", version=version).status_code == 400
    assert site.get(f"{HYPERVISORS}?x=1", "admin", version="2.33").status_code == 400


def test_hypervisors_are_found_by_a_part_of_their_name(site: Site) -> None:
    add_host("n1", 1)
    add_host("m_1", 2)
    server = site.built()
    found = admin(site, f"{HYPERVISORS}/1.ex/search")["hypervisors"]
    assert len(found) == 2
    assert [one["id"] for one in admin(site, f"{HYPERVISORS}/_1/search")["hypervisors"]] == [2]
    one, two = admin(site, f"{HYPERVISORS}/example/servers")["hypervisors"]
    assert one["servers"] == [{"uuid": server, "name": "vm"}]
    assert "servers" not in two
    query = f"{HYPERVISORS}?hypervisor_hostname_pattern=example&with_servers=true"
    late = admin(site, query, "2.75")["hypervisors"]
    assert [len(one["servers"]) for one in late] == [1, 0]
    assert "servers" not in admin(site, query, "2.53")["hypervisors"][1]
    for path in (f"{HYPERVISORS}/zz/search", f"{HYPERVISORS}/zz/servers"):
        assert site.get(path, "admin").status_code == 404
        assert site.get(path, "admin", version="2.53").status_code == 404
    missing = f"{HYPERVISORS}?hypervisor_hostname_pattern=zz"
    assert site.get(missing, "admin", version="2.53").status_code == 404
    assert site.get(f"{missing}&limit=1", "admin", version="2.53").status_code == 400


def test_a_hypervisor_s_uptime_is_told_until_2_87(site: Site) -> None:
    id_ = add_host("n1", 1)
    add_host("n2", 2, state="down")
    shown = admin(site, f"{HYPERVISORS}/1/uptime")["hypervisor"]
    assert set(shown) == SHORT | {"uptime"}
    assert site.get(f"{HYPERVISORS}/2/uptime", "admin").status_code == 400
    assert site.get(f"{HYPERVISORS}/{id_}/uptime", "admin", version="2.88").status_code == 404


def test_an_unknown_or_malformed_id_of_a_hypervisor_is_refused(site: Site) -> None:
    for id_, version, status in (
        ("9", "2.1", 404),
        ("n1", "2.1", 404),
        ("9" * 30, "2.1", 404),
        ("n1", "2.53", 400),
        (str(uuid.uuid4()), "2.53", 404),
    ):
        answer = site.get(f"{HYPERVISORS}/{id_}", "admin", version=version)
        assert answer.status_code == status, (id_, answer.text)


def test_all_this_is_for_administrators(site: Site) -> None:
    add_host("n1", 1)
    for path in ("", "/detail", "/statistics", "/1", "/1/uptime", "/n1/search", "/n1/servers"):
        assert site.get(f"{HYPERVISORS}{path}").status_code == 403
    assert site.get(SERVICES).status_code == 403
    assert site.get(f"{V}/os-aggregates").status_code == 403
    body = {"host": "n1", "binary": "nova-compute"}
    assert site.call("PUT", f"{SERVICES}/disable", json=body).status_code == 403
    assert site.delete(f"{SERVICES}/1").status_code == 403
    assert admin(site, SERVICES)["services"][0]["status"] == "enabled"
    assert admin(site, f"{V}/os-aggregates") == {"aggregates": []}


def test_extensions_are_listed_and_shown(site: Site) -> None:
    listed = site.get(f"{V}/extensions").json["extensions"]
    fields = {"alias", "name", "description", "namespace", "updated", "links"}
    assert all(set(one) == fields for one in listed)
    shown = site.get(f"{V}/extensions/os-keypairs").json["extension"]
    assert shown in listed
    assert site.get(f"{V}/extensions/os-nothing").status_code == 404
