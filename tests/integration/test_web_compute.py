"""Compute over HTTP: what is accepted and shown. What comes of it is the pipeline's tests'."""

from __future__ import annotations

import base64
import json
import logging
import re
import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import event, func, select

from app.models import Action, Host, Network, Quota, Server, Subnet
from app.store import database
from app.store.database import reading, transaction
from tests.integration.web_fixtures import Site, seeded_database, site

__all__ = ["seeded_database", "site"]
V = "/compute/v2.1"
SERVERS = f"{V}/servers"


def add_host(name: str = "n1", zone: str = "nova", state: str = "up") -> None:
    """A hypervisor's row."""
    with transaction() as session:
        session.add(
            Host(
                number=(session.scalar(select(func.max(Host.number))) or 0) + 1,
                name=name,
                uuid=str(uuid.uuid4()),
                session="s",
                state=state,
                zone=zone,
                hostname=f"{name}.example",
                vcpus=8,
                ram_mb=8192,
                disk_gb=100,
                cpu_ratio=4.0,
                ram_ratio=1.0,
                disk_ratio=1.0,
            )
        )


def count(table: Any) -> int:
    """How many rows a table has."""
    with reading() as session:
        return session.scalar(select(func.count()).select_from(table)) or 0


# Versions


def test_discovery_needs_no_token_and_tells_the_range(site: Site) -> None:
    versions = site.get("/compute", None).json["versions"]
    assert [one["id"] for one in versions] == ["v2.0", "v2.1"]
    for one in versions:
        assert site.get(one["links"][0]["href"], None).status_code == 200
    current = site.get(V, None).json["version"]
    assert (current["min_version"], current["status"]) == ("2.1", "CURRENT")


@pytest.mark.parametrize(
    ("headers", "status", "echoed"),
    [
        ({}, 200, "2.1"),
        ({"OpenStack-API-Version": "compute 2.10"}, 200, "2.10"),
        ({"OpenStack-API-Version": "volume 3.1, compute 2.10"}, 200, "2.10"),
        ({"OpenStack-API-Version": "volume 3.1"}, 200, "2.1"),
        ({"X-OpenStack-Nova-API-Version": "2.9"}, 200, "2.9"),
        (
            {"OpenStack-API-Version": "compute 2.3", "X-OpenStack-Nova-API-Version": "2.9"},
            200,
            "2.3",
        ),
        ({"OpenStack-API-Version": "compute latest"}, 200, "2.104"),
        ({"OpenStack-API-Version": "compute 2.9999"}, 406, None),
        ({"OpenStack-API-Version": "compute 3.1"}, 406, None),
        ({"OpenStack-API-Version": "compute 2.0"}, 406, None),
        ({"OpenStack-API-Version": "compute two"}, 400, None),
        ({"OpenStack-API-Version": "compute"}, 400, None),
        ({"X-OpenStack-Nova-API-Version": "2.1.1"}, 400, None),
        ({"X-OpenStack-Nova-API-Version": "2.01"}, 400, None),
    ],
)
def test_microversions_in_both_forms(
    site: Site, headers: dict[str, str], status: int, echoed: str | None
) -> None:
    answer = site.get(f"{V}/flavors", headers=headers)
    assert answer.status_code == status, answer.text
    if echoed:
        assert answer.headers["OpenStack-API-Version"] == f"compute {echoed}"
        assert answer.headers["X-OpenStack-Nova-API-Version"] == echoed
        assert "OpenStack-API-Version" in answer.headers.getlist("Vary")


def test_every_answer_bears_its_request_id(site: Site) -> None:
    for path in (SERVERS, f"{V}/nowhere", f"{SERVERS}/none"):
        headers = site.get(path).headers
        assert headers["x-openstack-request-id"].startswith("req-")
        assert headers["x-compute-request-id"] == headers["x-openstack-request-id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/nothing"), ("DELETE", "/servers/"), ("PUT", "/flavors"), ("POST", "/limits")],
)
def test_an_unrouted_path_is_404_never_405(site: Site, method: str, path: str) -> None:
    answer = site.call(method, V + path)
    assert answer.status_code == 404
    assert answer.json["itemNotFound"]["code"] == 404


# Flavors


def test_flavors_are_listed_filtered_and_paged(site: Site) -> None:
    assert [one["id"] for one in site.get(f"{V}/flavors").json["flavors"]] == list("123456")
    large = site.get(f"{V}/flavors/detail?minRam=4096&minDisk=80").json["flavors"]
    assert [one["name"] for one in large] == ["m1.large", "m1.xlarge"]
    page = site.get(f"{V}/flavors?limit=4").json
    assert [one["rel"] for one in page["flavors_links"]] == ["next"]
    rest = site.get(page["flavors_links"][0]["href"]).json
    assert [one["id"] for one in rest["flavors"]] == ["5", "6"]
    assert site.get(f"{V}/flavors?is_public=None").json["flavors"]
    by_ram = site.get(f"{V}/flavors?sort_key=memory_mb&sort_dir=desc").json["flavors"]
    assert by_ram[0]["name"] == "m1.xlarge"


def test_a_flavor_is_shown_and_a_missing_one_is_404(site: Site) -> None:
    shown = site.get(f"{V}/flavors/2").json["flavor"]
    assert (shown["ram"], shown["vcpus"], shown["disk"], shown["swap"]) == (2048, 1, 20, "")
    assert site.get(f"{V}/flavors/2/os-extra_specs").json == {"extra_specs": {}}
    assert site.get(f"{V}/flavors/m1.small").status_code == 404


@pytest.mark.parametrize("query", ["minRam=x", "limit=-1", "marker=none", "sort_key=colour"])
def test_a_bad_flavor_query_is_400(site: Site, query: str) -> None:
    assert "badRequest" in site.get(f"{V}/flavors?{query}").json


# Keys


def test_a_key_is_kept_listed_shown_and_deleted(site: Site) -> None:
    public = (
        "ssh-ed25519 " + base64.b64encode(b"\0\0\0\x0bssh-ed25519" + b"k" * 36).decode() + " me"
    )
    made = site.post(f"{V}/os-keypairs", json={"keypair": {"name": "k", "public_key": public}})
    assert made.status_code == 200
    assert made.json["keypair"]["fingerprint"].count(":") == 15
    assert "private_key" not in made.json["keypair"]
    listed = site.get(f"{V}/os-keypairs", version="2.2").json["keypairs"]
    assert [one["keypair"]["type"] for one in listed] == ["ssh"]
    assert site.get(f"{V}/os-keypairs/k").json["keypair"]["public_key"] == public
    assert site.get(f"{V}/os-keypairs/k", "other").status_code == 404
    again = site.post(f"{V}/os-keypairs", json={"keypair": {"name": "k", "public_key": public}})
    assert again.status_code == 409
    assert site.delete(f"{V}/os-keypairs/k").status_code == 202
    assert site.delete(f"{V}/os-keypairs/k", version="2.10").status_code == 404


def test_a_key_pair_is_made_here_when_none_is_given(site: Site) -> None:
    made = site.post(f"{V}/os-keypairs", json={"keypair": {"name": "made"}}, version="2.2")
    assert made.status_code == 201
    pair = made.json["keypair"]
    assert pair["private_key"].startswith("-----BEGIN RSA PRIVATE KEY-----")
    assert pair["public_key"].startswith("ssh-rsa ")
    assert "private_key" not in site.get(f"{V}/os-keypairs/made").json["keypair"]
    assert site.delete(f"{V}/os-keypairs/made", version="2.2").status_code == 204


@pytest.mark.parametrize(
    "keypair",
    [
        {},
        {"name": ""},
        {"name": "a/b", "public_key": "x"},
        {"name": "k", "public_key": "ssh-rsa not-base64"},
        {"name": "k", "public_key": "ssh-rsa AAAAB3Nz"},
        {"name": "k", "colour": "red"},
        {"name": "k", "type": "ssh"},
    ],
)
def test_a_bad_key_is_400(site: Site, keypair: dict[str, str]) -> None:
    assert "badRequest" in site.post(f"{V}/os-keypairs", json={"keypair": keypair}).json


# Creating


def test_a_create_is_accepted_and_told_as_a_task(site: Site) -> None:
    answer = site.add_server(metadata={"a": "b"}, user_data=base64.b64encode(b"#!/bin/sh").decode())
    assert answer.status_code == 202
    server = answer.json["server"]
    assert {"id", "links", "adminPass", "OS-DCF:diskConfig"} <= set(server)
    assert answer.headers["Location"].endswith(f"/servers/{server['id']}")
    task = answer.headers["X-Task-Id"]
    assert answer.headers["Link"] == f'</v1/tasks/{task}>; rel="task"'
    shown = site.get(f"{SERVERS}/{server['id']}").json["server"]
    assert (shown["status"], shown["OS-EXT-STS:task_state"]) == ("BUILD", "scheduling")
    assert (shown["metadata"], shown["progress"]) == ({"a": "b"}, 0)
    assert shown["flavor"]["id"] == "6"
    assert site.get(f"/v1/tasks/{task}").json["server_id"] == server["id"]


def test_several_servers_at_once_have_a_task_each(site: Site) -> None:
    answer = site.add_server(min_count="2", max_count=3, return_reservation_id=True)
    assert answer.status_code == 202
    assert answer.headers["Link"].count('rel="task"') == 3
    reservation = answer.json["reservation_id"]
    listed = site.get(f"{SERVERS}/detail?reservation_id={reservation}&sort_key=launch_index").json
    assert sorted(one["name"] for one in listed["servers"]) == ["vm-1", "vm-2", "vm-3"]


def test_what_clients_send_for_an_image_boot_is_accepted(site: Site) -> None:
    image = site.add_image()
    mapping = {
        "uuid": image,
        "boot_index": 0,
        "source_type": "image",
        "destination_type": "local",
        "delete_on_termination": True,
    }
    answer = site.add_server(
        imageRef=image,
        block_device_mapping_v2=[mapping],
        networks=[{"uuid": site.default_network(), "fixed_ip": "10.77.0.77"}],
        security_groups=[{"name": "default"}],
        config_drive="True",
        **{"OS-DCF:diskConfig": "AUTO"},
        accessIPv4="1.2.3.4",
        accessIPv6="::babe:220.12.22.2",
    )
    assert answer.status_code == 202, answer.text
    shown = site.get(f"{SERVERS}/{answer.json['server']['id']}").json["server"]
    assert shown["accessIPv6"] == "::babe:dc0c:1602"
    assert shown["config_drive"] == "True"


SMALL_SECRET = "c2VjcmV0LXVzZXItZGF0YQ=="


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ({"name": None}, "name"),
        ({"name": ""}, "name"),
        ({"name": "x" * 256}, "255"),
        ({"flavorRef": "99"}, "99"),
        ({"flavorRef": True}, "flavorRef"),
        ({"imageRef": 3}, "imageRef"),
        ({"imageRef": "x"}, "imageRef"),
        ({"imageRef": ""}, "imageRef"),
        ({"imageRef": "11111111-1111-1111-1111-111111111111"}, "11111111"),
        ({"min_count": 0}, "min_count"),
        ({"min_count": 2.5}, "min_count"),
        ({"min_count": "x"}, "min_count"),
        ({"max_count": 1001}, "max_count"),
        ({"min_count": 3, "max_count": 2}, "min_count"),
        ({"networks": [{"uuid": "11111111-1111-1111-1111-111111111111"}]}, "11111111"),
        ({"networks": [{"port": "11111111-1111-1111-1111-111111111111"}]}, "networks.0: Port id"),
        ({"networks": [{"fixed_ip": "10.77.0.9"}]}, "networks.0"),
        ({"networks": "everything"}, "networks"),
        ({"key_name": "none"}, "key_name"),
        ({"user_data": "not base64!"}, "user_data"),
        ({"user_data": "A" * 65536}, "user_data"),
        ({"user_data": [SMALL_SECRET]}, "user_data"),
        ({"adminPass": [SMALL_SECRET]}, "adminPass"),
        ({"metadata": {"k": 1}}, "metadata.k"),
        ({"metadata": {"k" * 256: "v"}}, "metadata"),
        ({"metadata": {"k": "v" * 256}}, "255"),
        ({"config_drive": "perhaps"}, "config_drive"),
        ({"availability_zone": "moon"}, "zone"),
        ({"accessIPv4": "::1"}, "accessIPv4"),
        ({"security_groups": [{"name": "web"}]}, "security_groups: Security group web"),
        ({"block_device_mapping_v2": [{"source_type": "volume", "uuid": str(uuid.uuid4())}]},
         "block_device"),
        ({"colour": "red"}, "colour"),
        ({"description": "not before 2.19"}, "description"),
    ],
)  # fmt: skip
def test_a_bad_create_names_the_field_and_writes_nothing(
    site: Site, wanted: dict[str, Any], says: str
) -> None:
    body = {"name": "vm", "flavorRef": "6", "imageRef": site.add_image()} | wanted
    body = {name: value for name, value in body.items() if value is not None}
    answer = site.post(SERVERS, json={"server": body})
    assert answer.status_code == 400, answer.text
    assert says in answer.json["badRequest"]["message"]
    assert SMALL_SECRET not in answer.text
    assert count(Server) == 0


def test_a_flavor_must_hold_the_image(site: Site) -> None:
    image = site.add_image(min_ram=512)
    assert "512 MiB" in site.add_server(imageRef=image).json["badRequest"]["message"]
    image = site.add_image(min_disk=2)
    assert "2 GiB" in site.add_server(imageRef=image).json["badRequest"]["message"]


def test_an_image_without_data_cannot_be_booted(site: Site) -> None:
    body = {"name": "i", "disk_format": "raw", "container_format": "bare"}
    queued = site.post("/image/v2/images", json=body).json["id"]
    assert "not active" in site.add_server(imageRef=queued).json["badRequest"]["message"]


def test_an_address_outside_the_network_is_refused(site: Site) -> None:
    nics = [{"uuid": site.default_network(), "fixed_ip": "10.99.0.1"}]
    assert site.add_server(networks=nics).status_code == 400


def test_what_belongs_to_others_does_not_exist_in_a_create(site: Site) -> None:
    image = site.add_image("other")
    foreign = site.add_server(imageRef=image).json["badRequest"]["message"]
    assert foreign == f"Can not find requested image {image}"
    with transaction() as session:
        session.add(Network(id=str(uuid.uuid4()), project_id="somebody", name="theirs"))
        session.flush()
        theirs = session.scalars(select(Network.id).where(Network.name == "theirs")).one()
        session.add(
            Subnet(network_id=theirs, project_id="somebody", cidr="10.1.0.0/24",
                   pool_start="10.1.0.2", pool_end="10.1.0.9")
        )  # fmt: skip
    answer = site.add_server(networks=[{"uuid": theirs}])
    assert "could not be found" in answer.json["badRequest"]["message"]
    site.post(f"{V}/os-keypairs", "other", json={"keypair": {"name": "theirs"}})
    assert site.add_server(key_name="theirs").status_code == 400


def test_zones_and_hosts_can_be_asked_for(site: Site) -> None:
    add_host("n1", "east")
    assert site.add_server(availability_zone="east").status_code == 202
    image = site.add_image("admin", visibility="public")
    forced = {"imageRef": image, "availability_zone": "east:n1"}
    assert site.add_server(**forced).status_code == 403
    assert site.add_server("admin", **forced).status_code == 202
    missing = site.add_server("admin", imageRef=image, availability_zone="east:n9")
    assert missing.status_code == 400


def test_the_quota_is_403_and_names_what_is_short(site: Site) -> None:
    answer = site.add_server(min_count=11)
    assert answer.status_code == 403
    assert "instances" in answer.json["forbidden"]["message"]
    assert count(Server) == 0
    made = site.add_server(min_count=1, max_count=50)
    assert made.headers["Link"].count('rel="task"') == 10


def test_a_request_for_very_many_links_to_the_list_of_their_tasks(site: Site) -> None:
    mine = site.get("/identity/v3/auth/projects").json["projects"][0]["id"]
    path = f"{V}/os-quota-sets/{mine}"
    quota = dict.fromkeys(("instances", "cores", "ram"), -1) | {"force": True}
    assert site.call("PUT", path, "admin", json={"quota_set": quota}).status_code == 200
    answer = site.add_server(min_count=120, max_count=120)
    [links] = answer.headers.getlist("Link")
    assert links.count('rel="task"') == 20
    [listed] = re.findall(r'<([^>]+)>; rel="collection"', links)
    assert len(site.get(listed).json["tasks"]) == 120
    assert site.get("/v1/tasks?request_id=req-of-nobody").json["tasks"] == []


@pytest.mark.parametrize(
    ("data", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b"", "application/json", 400),
        (b"[]", "application/json", 400),
        (b'{"server": {"name": "a\\u0000b", "flavorRef": "1"}}', "application/json", 400),
        (b"{}", "text/plain", 415),
        (b'{"server": {"name": "' + b"x" * 120_000 + b'"}}', "application/json", 413),
        (b"[" * 100_000, "application/json", 400),
        (b"\xff\xfe", "application/json", 400),
    ],
)
def test_a_body_that_is_no_json_or_too_large(
    site: Site, data: bytes, content_type: str, status: int
) -> None:
    answer = site.post(SERVERS, data=data, content_type=content_type)
    assert answer.status_code == status, answer.text


def test_secrets_reach_neither_rows_of_others_nor_the_log(
    site: Site, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = base64.b64encode(b"very secret").decode()
    answer = site.add_server(user_data=secret, adminPass="pass-word-of-mine")
    assert answer.json["server"]["adminPass"] == "pass-word-of-mine"
    out = caplog.text + "".join(capsys.readouterr())
    for text in (secret, "pass-word-of-mine", site.token()):
        assert text not in out


# Idempotency


def keyed(site: Site, key: str, body: Any, user: str = "novella", path: str = SERVERS) -> Any:
    """A POST with an Idempotency-Key."""
    return site.post(path, user, json=body, headers={"Idempotency-Key": key})


def test_a_repeat_with_the_same_key_gets_the_same_answer_once(site: Site) -> None:
    body = {"server": {"name": "vm", "flavorRef": "6", "imageRef": site.add_image(),
                       "min_count": 2}}  # fmt: skip
    first, second = keyed(site, "k1", body), keyed(site, "k1", body)
    assert (first.status_code, second.status_code) == (202, 202)
    assert second.json == first.json
    assert second.headers["X-Task-Id"] == first.headers["X-Task-Id"]
    assert second.headers["Link"].count("rel=") == 2
    assert second.headers["Location"] == first.headers["Location"]
    assert second.headers["Idempotent-Replayed"] == "true"
    assert (count(Server), count(Action)) == (2, 2)
    with database.engine().connect() as connection:
        kept = connection.exec_driver_sql("SELECT body FROM idempotency").scalar()
    assert first.json["server"]["adminPass"] not in str(kept)


def test_the_same_key_with_another_body_or_path_is_422(site: Site) -> None:
    body = {"server": {"name": "vm", "flavorRef": "6", "imageRef": site.add_image()}}
    server = keyed(site, "k1", body).json["server"]["id"]
    other = {"server": body["server"] | {"name": "another"}}
    assert keyed(site, "k1", other).status_code == 422
    path = f"{SERVERS}/{server}/action"
    assert keyed(site, "k1", {"os-start": None}, path=path).status_code == 422
    assert count(Server) == 1


def test_keys_are_each_projects_own_and_refusals_are_not_kept(site: Site) -> None:
    image = site.add_image("admin", visibility="public")
    body = {"server": {"name": "vm", "flavorRef": "6", "imageRef": image}}
    refused = {"server": body["server"] | {"min_count": 11}}
    assert keyed(site, "k", refused).status_code == 403
    assert keyed(site, "k", body).status_code == 202
    assert keyed(site, "k", body, "other").status_code == 202
    assert count(Server) == 2


@pytest.mark.parametrize("key", ["", "k" * 256])
def test_a_key_has_1_to_255_characters(site: Site, key: str) -> None:
    body = {"server": {"name": "vm", "flavorRef": "6", "imageRef": site.add_image()}}
    assert keyed(site, key, body).status_code == 400


def test_a_key_is_free_again_after_a_day(site: Site) -> None:
    body = {"server": {"name": "vm", "flavorRef": "6", "imageRef": site.add_image()}}
    keyed(site, "k", body)
    with database.engine().begin() as connection:
        connection.exec_driver_sql("UPDATE idempotency SET created_at = created_at - 86500")
    assert "Idempotent-Replayed" not in keyed(site, "k", body).headers
    assert count(Server) == 2


# Showing, listing


def test_a_built_server_is_shown_with_all_of_2_1(site: Site) -> None:
    add_host()
    server = site.built()
    shown = site.get(f"{SERVERS}/{server}").json["server"]
    assert (shown["status"], shown["progress"], shown["OS-EXT-STS:power_state"]) == (
        "ACTIVE",
        100,
        1,
    )
    assert len(shown["hostId"]) == 56
    assert shown["OS-EXT-AZ:availability_zone"] == "nova"
    assert shown["OS-SRV-USG:launched_at"] == "1970-01-01T00:00:01.000000"
    assert not any(name.startswith("OS-EXT-SRV-ATTR") for name in shown)
    assert {"locked", "description", "host_status"} & set(shown) == set()
    whole = site.get(f"{SERVERS}/{server}", "admin", version="latest").json["server"]
    assert whole["OS-EXT-SRV-ATTR:host"] == "n1"
    assert whole["OS-EXT-SRV-ATTR:hypervisor_hostname"] == "n1.example"
    assert whole["OS-EXT-SRV-ATTR:instance_name"].endswith(server)
    assert (whole["locked"], whole["description"], whole["host_status"]) == (False, None, "UP")
    assert site.get(f"{SERVERS}/{server}/ips").json == {"addresses": {}}


def test_a_failed_server_shows_its_fault(site: Site) -> None:
    server = site.built()
    fault = {"code": "no_valid_host", "message": "0/3 hosts fit", "details": "Traceback: secret"}
    site.set_server(server, vm_state="error", fault=fault)
    shown = site.get(f"{SERVERS}/{server}").json["server"]
    assert shown["status"] == "ERROR"
    assert shown["fault"]["message"] == "0/3 hosts fit"
    assert "details" not in shown["fault"]
    for_admin = site.get(f"{SERVERS}/{server}", "admin").json["server"]
    assert for_admin["fault"]["details"] == "Traceback: secret"


def test_anothers_server_is_not_there(site: Site) -> None:
    server = site.built()
    task = site.get("/v1/tasks").json["tasks"][0]["id"]
    request = site.get(f"{SERVERS}/{server}/os-instance-actions").json["instanceActions"][0]
    for answer in (
        site.get(f"{SERVERS}/{server}", "other"),
        site.get(f"{SERVERS}/{server}/ips", "other"),
        site.delete(f"{SERVERS}/{server}", "other"),
        site.post(f"{SERVERS}/{server}/action", "other", json={"os-stop": None}),
        site.post(f"{SERVERS}/{server}/action", "other", json={"os-getConsoleOutput": {}}),
        site.get(f"{SERVERS}/{server}/os-instance-actions", "other"),
        site.get(f"{SERVERS}/{server}/os-instance-actions/{request['request_id']}", "other"),
        site.get(f"/v1/tasks/{task}", "other"),
        site.get(f"/v1/tasks/{task}/events", "other"),
        site.delete(f"/v1/tasks/{task}", "other"),
    ):
        assert answer.status_code == 404, answer.request.path
    assert site.get(f"{SERVERS}/detail", "other").json["servers"] == []
    assert site.get("/v1/tasks", "other").json["tasks"] == []
    assert site.get(f"{SERVERS}?marker={server}", "other").status_code == 400
    assert site.get(f"/v1/tasks?marker={task}", "other").status_code == 400
    assert site.get(f"{SERVERS}/{server}", "admin").status_code == 200


def test_servers_are_filtered_sorted_and_paged(site: Site) -> None:
    image = site.add_image()
    ids = {name: site.built(imageRef=image, name=name) for name in ("web-1", "web-2", "db")}
    site.set_server(ids["db"], vm_state="stopped")

    def listed(query: str) -> list[str]:
        return [one["name"] for one in site.get(f"{SERVERS}?{query}").json["servers"]]

    assert listed("") == ["db", "web-2", "web-1"]
    assert listed("sort_key=display_name&sort_dir=asc") == ["db", "web-1", "web-2"]
    assert listed("name=^web") == ["web-2", "web-1"]
    assert listed("name=b-1$") == ["web-1"]
    assert listed("status=SHUTOFF") == ["db"]
    assert listed("status=active&status=SHUTOFF") == ["db", "web-2", "web-1"]
    assert listed("status=NONSENSE") == []
    assert listed(f"image={image}&flavor=6") == ["db", "web-2", "web-1"]
    assert listed(f"image={uuid.uuid4()}") == []
    assert listed(f"uuid={ids['db']}") == ["db"]
    assert listed("changes-since=2001-01-01T00:00:00Z") == ["db", "web-2", "web-1"]
    assert listed("changes-since=2999-01-01T00:00:00") == []
    page = site.get(f"{SERVERS}?limit=2").json
    assert [one["name"] for one in page["servers"]] == ["db", "web-2"]
    rest = site.get(page["servers_links"][0]["href"]).json
    assert [one["name"] for one in rest["servers"]] == ["web-1"]
    assert "servers_links" not in rest


def test_admins_see_all_projects_when_they_ask(site: Site) -> None:
    add_host()
    server = site.built()
    assert site.get(SERVERS, "admin").json["servers"] == []
    assert site.get(f"{SERVERS}?all_tenants=1").status_code == 403
    found = site.get(f"{SERVERS}?all_tenants=True&host=n1", "admin").json["servers"]
    assert [one["id"] for one in found] == [server]
    assert site.get(f"{SERVERS}?all_tenants=1&host=n2", "admin").json["servers"] == []


def test_deleted_servers_are_for_admins_and_for_changes_since(site: Site) -> None:
    server = site.built()
    site.set_server(server, vm_state="deleted", deleted_at=2.0)
    assert site.get(f"{SERVERS}/{server}").status_code == 404
    assert site.get(f"{SERVERS}?deleted=true").json["servers"] == []
    since = site.get(f"{SERVERS}/detail?changes-since=2001-01-01T00:00:00Z").json["servers"]
    assert [one["status"] for one in since] == ["DELETED"]
    asked = site.get(f"{SERVERS}/detail?deleted=true&all_tenants=1", "admin").json["servers"]
    assert [one["id"] for one in asked] == [server]


@pytest.mark.parametrize(
    "query",
    [
        "limit=x",
        "limit=-2",
        "marker=none",
        "sort_key=colour",
        "changes-since=yesterday",
        "name=(",
        "name=(a%2B)%2B",
        "name=.*.*.*.*",
        "name=(?P<x>a)",
        "all_tenants=perhaps",
        "name=a%00b",
    ],
)
def test_a_bad_server_query_is_400(site: Site, query: str) -> None:
    assert site.get(f"{SERVERS}?{query}").status_code == 400


def test_a_list_costs_the_same_queries_for_1_and_for_30_servers(site: Site) -> None:
    def queries() -> int:
        seen: list[str] = []
        listener = lambda *args: seen.append(args[2])  # noqa: E731
        event.listen(database.engine(), "before_cursor_execute", listener)
        assert site.get(f"{SERVERS}/detail").status_code == 200
        event.remove(database.engine(), "before_cursor_execute", listener)
        return len([text for text in seen if text.startswith("SELECT")])

    with transaction() as session:
        project = site.get("/identity/v3/auth/projects").json["projects"][0]["id"]
        session.add(Quota(project_id=project, resource="instances", hard_limit=-1))
        session.add(Quota(project_id=project, resource="cores", hard_limit=-1))
    image = site.add_image()
    site.add_server(imageRef=image)
    one = queries()
    site.add_server(imageRef=image, min_count=29)
    assert len(site.get(SERVERS).json["servers"]) == 30
    assert queries() == one


# Actions


def test_start_stop_and_reboot_are_accepted_as_tasks(site: Site) -> None:
    server = site.built()
    for body, kind, status in (
        ({"os-stop": None}, "stop", "ACTIVE"),
        ({"reboot": {"type": "SOFT"}}, "reboot", "REBOOT"),
        ({"reboot": {"type": "HARD"}}, "hard_reboot", "HARD_REBOOT"),
    ):
        answer = site.post(f"{SERVERS}/{server}/action", json=body)
        assert answer.status_code == 202, answer.text
        assert answer.data == b""
        task = site.get(f"/v1/tasks/{answer.headers['X-Task-Id']}").json
        assert task["kind"] == kind
        assert site.get(f"{SERVERS}/{server}").json["server"]["status"] == status
        site.set_server(server, task_state=None)
    site.set_server(server, vm_state="stopped")
    assert site.post(f"{SERVERS}/{server}/action", json={"os-start": None}).status_code == 202


def test_a_wrong_state_is_409_in_novas_words(site: Site) -> None:
    server = site.built()
    answer = site.post(f"{SERVERS}/{server}/action", json={"os-start": None})
    assert answer.status_code == 409
    assert answer.json["conflictingRequest"]["message"] == (
        f"Cannot 'start' instance {server} while it is in vm_state active"
    )
    site.set_server(server, locked="admin")
    assert site.post(f"{SERVERS}/{server}/action", json={"os-stop": None}).status_code == 409


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"dance": None},
        {"os-stop": None, "os-start": None},
        {"reboot": {}},
        {"reboot": None},
        {"reboot": {"type": "WARM"}},
        {"os-getConsoleOutput": {"length": "x"}},
        [],
    ],  # fmt: skip
)
def test_a_bad_action_is_400(site: Site, body: Any) -> None:
    server = site.built()
    assert "badRequest" in site.post(f"{SERVERS}/{server}/action", json=body).json


def test_a_delete_is_204_and_a_repeat_is_the_same_task(site: Site) -> None:
    server = site.built()
    first, second = site.delete(f"{SERVERS}/{server}"), site.delete(f"{SERVERS}/{server}")
    assert (first.status_code, second.status_code) == (204, 204)
    assert first.headers["X-Task-Id"] == second.headers["X-Task-Id"]
    assert site.get(f"{SERVERS}/{server}").json["server"]["OS-EXT-STS:task_state"] == "deleting"


def test_the_console_is_read_from_the_host(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []

    def read(*args: Any, **named: Any) -> str:
        asked.append(args)
        return "login: "

    monkeypatch.setattr("app.tasks.host_reads.console", read)
    server = site.built()
    path = f"{SERVERS}/{server}/action"
    assert site.post(path, json={"os-getConsoleOutput": {}}).status_code == 409
    add_host()
    answer = site.post(path, json={"os-getConsoleOutput": {"length": "5"}})
    assert answer.json == {"output": "login: "}
    site.post(path, json={"os-getConsoleOutput": {"length": -1}})
    told = [(host.name, server_id, lines) for host, server_id, lines in asked]
    assert told == [("n1", server, 5), ("n1", server, None)]


def test_a_host_that_does_not_answer_is_503(site: Site) -> None:
    add_host()
    server = site.built()
    answer = site.post(f"{SERVERS}/{server}/action", json={"os-getConsoleOutput": {}})
    assert answer.status_code == 503
    assert "serviceUnavailable" in answer.json


def test_instance_actions_tell_what_was_asked_and_how_it_went(site: Site) -> None:
    answer = site.add_server()
    server = answer.json["server"]["id"]
    request = answer.headers["x-openstack-request-id"]
    listed = site.get(f"{SERVERS}/{server}/os-instance-actions").json["instanceActions"]
    assert [(one["action"], one["request_id"]) for one in listed] == [("create", request)]
    path = f"{SERVERS}/{server}/os-instance-actions/{request}"
    assert "events" not in site.get(path).json["instanceAction"]
    events = site.get(path, "admin").json["instanceAction"]["events"]
    assert [one["event"] for one in events] == ["conductor_schedule_and_build_instances"]
    missing = f"{SERVERS}/{server}/os-instance-actions/req-none"
    assert site.get(missing).status_code == 404


def test_a_deleted_servers_actions_can_be_read_from_2_21(site: Site) -> None:
    server = site.built()
    site.set_server(server, vm_state="deleted", deleted_at=2.0)
    path = f"{SERVERS}/{server}/os-instance-actions"
    assert site.get(path).status_code == 404
    assert site.get(path, version="2.21").status_code == 200


# Limits, zones, the rest


def test_limits_show_quota_and_use(site: Site) -> None:
    site.add_server(min_count=2)
    absolute = site.get(f"{V}/limits").json["limits"]["absolute"]
    assert (absolute["maxTotalInstances"], absolute["totalInstancesUsed"]) == (10, 2)
    assert (absolute["maxTotalRAMSize"], absolute["totalRAMUsed"]) == (51200, 384)
    assert site.get(f"{V}/limits?tenant_id=x").status_code == 403


def test_zones_are_listed_and_their_hosts_for_admins(site: Site) -> None:
    add_host("n1", "east")
    add_host("n2", "west", state="down")
    zones = site.get(f"{V}/os-availability-zone").json["availabilityZoneInfo"]
    assert [(one["zoneName"], one["zoneState"]["available"]) for one in zones] == [
        ("east", True),
        ("nova", True),
        ("west", False),
    ]
    assert site.get(f"{V}/os-availability-zone/detail").status_code == 403
    detail = site.get(f"{V}/os-availability-zone/detail", "admin").json["availabilityZoneInfo"]
    assert detail[0]["hosts"]["n1"]["nova-compute"]["available"] is True


def test_networks_subnets_and_ports_are_shown(site: Site) -> None:
    (network,) = site.get("/network/v2.0/networks").json["networks"]
    assert network["shared"]
    (subnet,) = site.get(f"/network/v2.0/subnets?network_id={network['id']}").json["subnets"]
    assert network["subnets"] == [subnet["id"]]
    for kind, one in (("network", network), ("subnet", subnet)):
        shown = site.get(f"/network/v2.0/{kind}s/{one['id']}").json
        assert shown == {kind: one}
    assert site.get("/network/v2.0/networks?name=nope").json == {"networks": []}
    some = site.get("/network/v2.0/networks?fields=id&fields=name").json["networks"]
    assert some == [{"id": network["id"], "name": "default"}]
    assert site.get("/network/v2.0/ports").json == {"ports": []}
    missing = site.get("/network/v2.0/ports/none")
    assert missing.status_code == 404
    assert set(missing.json["NeutronError"]) == {"type", "message", "detail"}


def test_swagger_lists_every_route_with_a_summary_and_local_assets(site: Site) -> None:
    document = site.get("/swagger.json", None).json
    methods = [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "put", "delete", "patch")
    ]
    assert len(methods) > 50
    assert [(path, method) for path, method, it in methods if not it.get("summary")] == []
    routed = {rule.endpoint for rule in site.app.url_map.iter_rules()}
    assert len(routed) - 4 <= len(document["paths"])
    page = site.get("/docs", None).text
    assert re.findall(r"""(?:src|href)=["'](?!/swaggerui/|#)([^"']*)""", page) == []
    assert 'validatorUrl: "" || null' in page
    assert site.get("/swaggerui/swagger-ui-bundle.js", None).status_code == 200


def test_health_and_readiness(site: Site) -> None:
    assert site.get("/healthz", None).json == {"status": "ok"}
    assert site.get("/readyz", None).json["status"] == "ready"


def test_a_database_that_is_away_is_503_in_every_shape(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.token()
    monkeypatch.setenv("NOVELLA_DATABASE_URL", "sqlite:////nonexistent/nowhere.sqlite")
    from tests.integration.web_fixtures import forget_process_state

    forget_process_state()
    for path in (SERVERS, "/image/v2/images", "/network/v2.0/networks", "/v1/tasks", "/readyz"):
        answer = site.get(path)
        assert answer.status_code == 503, path
        assert answer.headers["Retry-After"]
        assert "nonexistent" not in answer.text


def test_the_unexpected_is_500_without_our_insides(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: Any) -> None:
        raise RuntimeError("the secret inside")

    monkeypatch.setattr("app.store.flavors.page", broken)
    answer = site.get(f"{V}/flavors")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert (
        answer.headers["x-openstack-request-id"]
        in json.loads(answer.text)["computeFault"]["message"]
    )


def test_of_many_at_once_with_the_same_key_one_is_accepted(site: Site) -> None:
    body = {"server": {"name": "vm", "flavorRef": "6", "imageRef": site.add_image()}}
    site.token()
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: keyed(site, "k", body), range(12)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.headers["X-Task-Id"] for answer in answers}) == 1
    assert count(Server) == 1
